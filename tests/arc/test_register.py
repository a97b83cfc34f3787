"""Any name imported from ``arcvit`` makes ARC known to PEFT."""

import sys

import pytest
from peft import get_peft_config
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

import arcvit


@pytest.mark.parametrize("name", ["ArcConfig", "ArcLayer", "ArcModel"])
def test_a_public_name_registers_arc(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    getattr(arcvit, name)
    monkeypatch.delitem(PEFT_TYPE_TO_CONFIG_MAPPING, "ARC")
    monkeypatch.delitem(sys.modules, "arcvit.arc.register")
    getattr(arcvit, name)
    assert get_peft_config({"peft_type": "ARC", "r": 3}).variant == "arc"
