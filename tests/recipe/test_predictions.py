"""What every finished run keeps of the images it measured."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from arcvit.core.predictions import read_predictions
from arcvit.core.result import read_result
from arcvit.data.contents import Contents, KnownImage, content_hashes
from arcvit.data.pixels.bank import ImageBank
from arcvit.data.task import ImageTask, Split
from arcvit.engine.evaluate import Evaluation
from arcvit.recipe.images import RunImages
from arcvit.recipe.predictions import predictions_of


def test_a_run_keeps_its_predictions(trained: Callable[[str], Path], photos: Path) -> None:
    run = trained("arc")
    result, images = read_result(run), read_predictions(run)
    for split, accuracy in (("val", result.val_accuracy), ("test", result.test_accuracy)):
        of_split = [image for image in images if image.split == split]
        assert {image.path for image in of_split} == {
            path.relative_to(photos).as_posix() for path in (photos / split).rglob("*.png")
        }
        assert sum(i.is_right for i in of_split) / len(of_split) == pytest.approx(accuracy)
        assert all(Path(i.path).parts[1] == i.label for i in of_split)
        assert all(0.25 <= i.probability <= 1 for i in of_split)
    assert [i.hash for i in images] == content_hashes([photos / i.path for i in images])


def test_logits_are_divided_by_the_temperature() -> None:
    paths = (Path("/data/a.jpg"), Path("/data/b.jpg"))
    task = ImageTask(
        name="x",
        root=Path("/data"),
        layout="table",
        classes=("emu", "owl"),
        splits={"test": Split.of(zip(paths, (0, 1), strict=True))},
        further={"camera": {paths[0]: "left"}},
    )
    known = [KnownImage(path=p.name, label="", splits=("test",), content=p.stem) for p in paths]
    labels = torch.tensor([0, 1])
    bank = ImageBank(torch.zeros(2, 3, 1, 1, dtype=torch.uint8), labels, paths)
    logits = torch.tensor([[2.0, -1.0], [150.0, 0.0]])
    probabilities = logits.softmax(-1)
    outcome = Evaluation(
        accuracy=0.5,
        loss=0,
        predictions=torch.tensor([0, 0]),
        labels=labels,
        confidences=probabilities.amax(-1),
        probabilities=probabilities,
    )
    found = predictions_of(
        {"test": outcome},
        RunImages(train=bank, val=None, test=bank),
        task,
        Contents(classes=task.classes, images=tuple(known)),
        temperature=2.0,
    )
    expected = (logits / 2).softmax(-1).amax(-1).tolist()
    assert [image.probability for image in found] == pytest.approx(expected)
    assert [image.uncalibrated for image in found] == outcome.confidences.tolist()
    assert [(i.path, i.hash, i.label, i.predicted) for i in found] == [
        ("a.jpg", "a", "emu", "emu"),
        ("b.jpg", "b", "owl", "emu"),
    ]
    assert [image.further for image in found] == [{"camera": "left"}, {}]
