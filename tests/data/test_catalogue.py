from collections import Counter

import pytest

from arcvit.core.errors import UserError
from arcvit.data.catalogue import (
    TASKS,
    find_task,
    recognise,
    suite_tasks,
)
from arcvit.data.pixels.preset import PRESETS


def test_the_suites_add_up() -> None:
    vtab, fgvc = suite_tasks("vtab"), suite_tasks("fgvc")
    assert (len(vtab), len(fgvc), len(TASKS)) == (19, 5, 24)
    assert sum(task.test for task in vtab) == 387_904
    assert sum(task.classes for task in vtab) == 940
    groups = Counter(task.group for task in vtab)
    assert groups == {"natural": 7, "specialized": 4, "structured": 8}
    assert {task.counts["trainval"] for task in vtab} == {1000}
    assert {task.preset for task in TASKS} <= set(PRESETS)


def test_each_name_finds_its_task() -> None:
    for task in TASKS:
        for name in task.names:
            assert find_task(name, suite=task.suite) is task
            assert find_task(name.upper().replace("_", "-"), suite=task.suite) is task
            assert recognise(name, suite=task.suite) is task


def test_names_without_a_suite() -> None:
    assert find_task("CIFAR-100").name == "cifar"
    assert find_task("cub").val_fraction == 0.1
    assert recognise("flowers") is None
    assert recognise("my photos") is None


@pytest.mark.parametrize(
    ("name", "suite", "sentence"),
    [
        ("cifer", None, "no benchmark task 'cifer': .*Did you mean 'cifar'"),
        ("clevr_cout", "vtab", "no benchmark task of vtab .*Did you mean 'clevr_count'"),
        ("cifar", "fgvc", "no benchmark task of fgvc 'cifar'"),
        ("flowers", None, r"oxford_flowers102 \(vtab\), OxfordFlowers \(fgvc\): .*full name"),
        ("cifar", "vtb", "no suite 'vtb': expected vtab or fgvc. Did you mean 'vtab'"),
        ("", None, "no benchmark task ''"),
    ],
)
def test_wrong_names(name: str, suite: str | None, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        find_task(name, suite=suite)
