from pathlib import Path

import numpy as np
import pytest

from arcvit.core.predictions import (
    OUT_OF_FOLD,
    OUT_OF_FOLD_FILE,
    Predicted,
    write_predictions,
)
from arcvit.curate.judge import by_folds
from arcvit.data.task import ImageTask, Split


def said(
    split: str, content: str, predicted: str, probability: float, given: float | None = None
) -> Predicted:
    names = {"label": "cat", "predicted": predicted, "path": f"{content}.png", "hash": content}
    return Predicted(split=split, probability=probability, uncalibrated=0.5, given=given, **names)


def test_folds_and_the_test_split_judge_by_content(tmp_path: Path) -> None:
    split = Split.of((Path(f"{row}.png"), 0) for row in range(5))
    task = ImageTask(
        name="t",
        root=Path(),
        layout="folders",
        classes=("cat", "=dog", "eel"),
        splits={"train": split},
    )
    contents = ["a", "b", "c", "d", "e"]
    assert by_folds(tmp_path, task, split, contents) is None
    # A name that a spreadsheet would calculate has an apostrophe in the table.
    folds = [said(OUT_OF_FOLD, "a", "=dog", 0.8, 0.15), said(OUT_OF_FOLD, "d", "fox", 0.9, 0.1)]
    write_predictions(tmp_path, folds, name=OUT_OF_FOLD_FILE)
    measured = [said("test", "b", "cat", 0.6), said("val", "c", "eel", 0.9)]
    write_predictions(tmp_path, measured)
    found = by_folds(tmp_path, task, split, contents)
    assert found is not None
    # Validation images and classes that the task hasn't are nobody's to judge.
    assert found.judged.tolist() == [True, True, False, False, False]
    assert found.p[:2] == pytest.approx(np.array([[0.15, 0.8, 0.05], [0.6, 0.2, 0.2]]))
