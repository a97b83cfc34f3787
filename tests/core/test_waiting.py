"""Idle threads of OpenMP sleep where the command line starts torch."""

import os
import subprocess
import sys

import pytest

from arcvit.core import waiting

VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@pytest.mark.parametrize(
    ("chosen", "loaded", "expected"),
    [
        ({}, False, ("PASSIVE", "1000", None)),
        ({}, True, (None, None, None)),  # too late
        ({"OMP_WAIT_POLICY": "ACTIVE"}, False, ("ACTIVE", None, None)),
        ({"GOMP_SPINCOUNT": "5"}, False, (None, "5", None)),
        ({"KMP_BLOCKTIME": "5"}, False, (None, None, "5")),
    ],
)
def test_it_is_set_once_unless_chosen(monkeypatch, chosen, loaded, expected):
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # what is set below is undone after the test
        monkeypatch.delenv(name)
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(waiting, "_told", [])
    monkeypatch.setitem(sys.modules, "torch", object())
    if not loaded:
        monkeypatch.delitem(sys.modules, "torch")
    ours = not chosen and not loaded
    assert waiting.wait_passively() is ours
    assert waiting.waits_passively() is ours
    assert tuple(map(os.environ.get, VARIABLES)) == expected
    assert not waiting.wait_passively()


@pytest.mark.slow
def test_the_library_that_torch_brings_reads_it():
    code = "from arcvit.core.waiting import wait_passively as wait; wait(); import torch"
    clean = {k: v for k, v in os.environ.items() if k not in VARIABLES}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=clean | {"OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in ran.stderr
    assert "GOMP_SPINCOUNT = '1000'" in ran.stderr
