"""What a run that has ended says of the images it measured, one by one."""

from collections.abc import Iterator, Mapping

import numpy as np
from torch import Tensor

from arcvit.core.predictions import Predicted
from arcvit.core.probabilities import LabelProbabilities
from arcvit.core.task import NO_THRESHOLD
from arcvit.data.contents import Contents
from arcvit.data.task import ImageTask
from arcvit.engine.evaluate import Evaluation, MultilabelEvaluation, Outcome
from arcvit.recipe.images import RunImages

_Said = tuple[str, str, float, float]
"""True and predicted class, and the probability with calibration and without."""


def predictions_of(
    outcomes: Mapping[str, Outcome],
    images: RunImages,
    task: ImageTask,
    contents: Contents,
    *,
    temperature: float = 1.0,
    thresholds: np.ndarray | None = None,
) -> list[Predicted]:
    """Each measured image with what the model takes it for.

    Args:
        outcomes: by split, val or test.
        images: what was decoded of the splits, in the order of the outcomes.
        task: class names, paths and further columns.
        contents: what is in the image files.
        temperature: what the logits are divided by; probabilities that weren't kept stay as they
            are.
        thresholds: from which probability on a label is given, (K,), of several labels an image.
    """
    hashes = {image.path: image.content for image in contents.images}
    banks = {"val": images.val, "test": images.test}
    found = []
    for split, outcome in outcomes.items():
        bank = banks[split]
        assert bank is not None
        if isinstance(outcome, MultilabelEvaluation):
            rows = _sets_said(outcome, task, temperature, thresholds)
        else:
            rows = _classes_said(outcome, task, temperature)
        for path, (label, predicted, probability, uncalibrated) in zip(
            bank.paths, rows, strict=True
        ):
            inside = task.inside(path)
            found.append(
                Predicted(
                    split=split,
                    path=inside,
                    hash=hashes[inside],
                    label=label,
                    predicted=predicted,
                    probability=probability,
                    uncalibrated=uncalibrated,
                    further={name: of[path] for name, of in task.further.items() if path in of},
                )
            )
    return found


def probabilities_of(
    outcomes: Mapping[str, Outcome], temperature: float
) -> dict[str, LabelProbabilities]:
    """What is said of every label, by split; nothing where images have one label.

    Args:
        outcomes: by split.
        temperature: what the logits are divided by.
    """
    return {
        split: LabelProbabilities(outcome.calibrated(temperature), outcome.labels.bool().numpy())
        for split, outcome in outcomes.items()
        if isinstance(outcome, MultilabelEvaluation)
    }


def _classes_said(outcome: Evaluation, task: ImageTask, temperature: float) -> Iterator[_Said]:
    rows = zip(
        outcome.labels.tolist(),
        outcome.predictions.tolist(),
        _calibrated(outcome, temperature).tolist(),
        outcome.confidences.tolist(),
        strict=True,
    )
    for label, predicted, probability, uncalibrated in rows:
        yield task.classes[label], task.classes[predicted], probability, uncalibrated


def _sets_said(
    outcome: MultilabelEvaluation,
    task: ImageTask,
    temperature: float,
    thresholds: np.ndarray | None,
) -> Iterator[_Said]:
    """The labels that are given, as one text; the probability is that of the likeliest label."""
    probabilities = outcome.calibrated(temperature)
    given = probabilities >= (NO_THRESHOLD if thresholds is None else thresholds)
    rows = zip(
        outcome.labels.bool().numpy(),
        given,
        probabilities.max(1).tolist(),
        outcome.probabilities.amax(1).tolist(),
        strict=True,
    )
    for own, said, probability, uncalibrated in rows:
        true, predicted = (task.label_text(np.flatnonzero(row)) for row in (own, said))
        yield true, predicted, probability, uncalibrated


def _calibrated(outcome: Evaluation, temperature: float) -> Tensor:
    """Probability of each image's predicted class, (N,), with the logits divided."""
    if outcome.probabilities is None or temperature == 1:
        return outcome.confidences
    # Up to a constant of each image, logarithms of probabilities are the logits.
    return (outcome.probabilities.log() / temperature).softmax(-1).amax(-1)
