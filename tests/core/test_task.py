"""task.json: what is written comes back, and what is damaged is told in a sentence."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from arcvit.core.errors import UserError
from arcvit.core.task import VERSION, AdapterTask, Calibration, TaskBackbone, has_task, read_task

TASK = AdapterTask(
    labels=["cat", "dog"],
    head="head",
    preprocessing={"size": [32, 32], "resize": "squash"},
    backbone=TaskBackbone(name="demo", fingerprint="1-2", image_size=32),
    calibration=Calibration(
        temperature=1.5, images=20, score="cosine", threshold=0.25, coverage=0.95
    ),
    results={"test_accuracy": 0.5},
)
CALIBRATED = dataclasses.asdict(TASK.calibration)


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    assert not has_task(tmp_path)
    TASK.write(tmp_path)
    assert has_task(tmp_path)
    assert read_task(tmp_path) == TASK
    record = json.loads((tmp_path / "task.json").read_text())
    assert next(iter(record)) == "version"
    assert record["backbone"]["name"] == "demo"


def test_what_may_be_left_out(tmp_path: Path) -> None:
    required = {"labels": ["a"], "head": "head", "preprocessing": {}, "backbone": {"name": "demo"}}
    (tmp_path / "task.json").write_text(json.dumps(required))
    task = read_task(tmp_path)
    assert (task.kind, task.calibration, task.results) == ("single", None, {})
    assert task.backbone.weights == "pretrained"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"labels": None}, "labels is null: expected a list"),
        ({"labels": []}, "labels is empty"),
        ({"labels": ["a", 1]}, r"labels is \['a', 1\]"),
        ({"kind": "many"}, "kind is 'many'"),
        ({"results": 3}, "results is 3"),
        ({"backbone": "demo"}, "backbone is 'demo'"),
        ({"backbone": {"name": 1}}, "name is 1"),
        ({"backbone": {}}, "missing 1 required keyword-only argument: 'name'"),
        ({"backbone": {"name": "demo", "image_size": 1.5}}, r"image_size is 1\.5"),
        ({"calibration": 2}, "calibration is 2: expected keys of their own"),
        ({"calibration": {"temperature": 2}}, "missing 4 required keyword-only arguments"),
        ({"calibration": CALIBRATED | {"temperature": 0}}, "temperature is 0: expected a number"),
        ({"calibration": CALIBRATED | {"threshold": 1e9}}, r"threshold is 1000000000\.0: expected"),
        ({"calibration": CALIBRATED | {"score": "energy"}}, "score is 'energy': expected one"),
        ({"label": ["a"]}, r"has the key 'label': expected .* Did you mean 'labels'"),
        ({"version": VERSION + 1, "new": 1}, f"reads up to {VERSION}: upgrade arcvit"),
        ({"version": "x"}, "version is 'x'"),
    ],
)
def test_damaged(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    TASK.write(tmp_path)
    record = json.loads((tmp_path / "task.json").read_text())
    (tmp_path / "task.json").write_text(json.dumps(record | changes))
    with pytest.raises(UserError, match=sentence):
        read_task(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_no_record_at_all(tmp_path: Path, text: str) -> None:
    (tmp_path / "task.json").write_text(text)
    with pytest.raises(UserError, match="is damaged: expected"):
        read_task(tmp_path)
    (tmp_path / "task.json").unlink()
    with pytest.raises(UserError, match=r"arcvit saved: expected task\.json in it"):
        read_task(tmp_path)


@pytest.mark.parametrize(
    ("kind", "thresholds", "threshold", "given"),
    [
        ("single", None, None, [1]),
        ("multilabel", None, None, [1]),
        ("multilabel", [0.4, 0.95, 0.1], None, [0, 2]),
        ("multilabel", [1.0, 1.0, 1.0], None, []),
        ("multilabel", [1.0, 1.0, 1.0], 0.15, [1, 0, 2]),
        ("multilabel", [1.0, 1.0, 1.0], 0.0, [1, 0, 2]),
    ],
)
def test_the_labels_that_an_image_is_given(
    kind: Any, thresholds: list[float] | None, threshold: float | None, given: list[int]
) -> None:
    task = dataclasses.replace(TASK, labels=["a", "b", "c"], kind=kind, thresholds=thresholds)
    assert task.given([0.4, 0.9, 0.2], threshold) == given


@pytest.mark.parametrize(
    ("kind", "thresholds"),
    [("single", [0.5, 0.5]), ("multilabel", [0.5]), ("multilabel", [0.5, 1.5])],
)
def test_thresholds_that_fit_no_labels(tmp_path: Path, kind: Any, thresholds: list[float]) -> None:
    dataclasses.replace(TASK, labels=["a", "b"], kind=kind, thresholds=thresholds).write(tmp_path)
    with pytest.raises(UserError, match=r"thresholds only where kind is multilabel, one in \[0, 1"):
        read_task(tmp_path)
