import dataclasses
import json
from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.core.result import RunResult, is_finished, read_result

RESULT = RunResult(
    task="colours",
    kind="single",
    backbone="demo",
    backbone_fingerprint="ab-cd",
    method="arc",
    seed=0,
    preset="model",
    selection="fitted on train",
    metric="accuracy",
    classes=4,
    train_images=48,
    skipped_images=0,
    params={"adapter": 1, "head": 2, "total": 3},
    metrics={"test": {"accuracy": 0.5, "balanced_accuracy": 0.5}},
    val_accuracy=None,
    test_accuracy=0.5,
    val_balanced_accuracy=None,
    test_balanced_accuracy=0.5,
    guessing_loss=1.386,
    out_of_fold=None,
    majority_share=0.25,
    test_group_accuracy=None,
    test_groups=None,
    epochs=2,
    seconds={"train": 1.0, "eval": 0.5},
    images_per_second=9.0,
    peak_memory_mb=1.0,
    adapter_bytes=10,
    versions={"torch": "2"},
    arcvit_version="0",
)


def test_written_and_read(tmp_path: Path) -> None:
    assert not is_finished(tmp_path)
    RESULT.write(tmp_path)
    assert is_finished(tmp_path)
    assert read_result(tmp_path) == RESULT
    record = json.loads((tmp_path / "result.json").read_text())
    assert list(record) == [field.name for field in dataclasses.fields(RunResult)]
    assert record["val_accuracy"] is None


def test_nan_is_no_accuracy(tmp_path: Path) -> None:
    dataclasses.replace(RESULT, test_accuracy=float("nan")).write(tmp_path)
    assert read_result(tmp_path).test_accuracy is None


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"extra": 1}, "another version of arcvit (0): its fields differ by extra"),
        ({"seed": ...}, "its fields differ by seed"),
    ],
)
def test_another_version(tmp_path: Path, change: dict[str, object], sentence: str) -> None:
    record = dataclasses.asdict(RESULT) | change
    record = {key: value for key, value in record.items() if value is not ...}
    (tmp_path / "result.json").write_text(json.dumps(record))
    with pytest.raises(UserError) as caught:
        read_result(tmp_path)
    assert sentence in str(caught.value)


def test_not_finished_and_damaged(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a finished run: expected result\.json in it"):
        read_result(tmp_path)
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(UserError, match=r"result\.json is damaged"):
        read_result(tmp_path)
