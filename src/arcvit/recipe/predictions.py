"""What a run that has ended says of the images it measured, one by one."""

from collections.abc import Mapping

from torch import Tensor

from arcvit.core.predictions import Predicted
from arcvit.data.contents import Contents
from arcvit.data.task import ImageTask
from arcvit.engine.evaluate import Evaluation
from arcvit.recipe.images import RunImages


def predictions_of(
    outcomes: Mapping[str, Evaluation],
    images: RunImages,
    task: ImageTask,
    contents: Contents,
    *,
    temperature: float = 1.0,
) -> list[Predicted]:
    """Each measured image with what the model takes it for.

    Args:
        outcomes: by split, val or test.
        images: what was decoded of the splits, in the order of the outcomes.
        task: class names, paths and further columns.
        contents: what is in the image files.
        temperature: what the logits are divided by; probabilities that weren't kept stay as they
            are.
    """
    hashes = {image.path: image.content for image in contents.images}
    banks = {"val": images.val, "test": images.test}
    found = []
    for split, outcome in outcomes.items():
        bank = banks[split]
        assert bank is not None
        calibrated = _calibrated(outcome, temperature)
        rows = zip(
            bank.paths,
            outcome.labels.tolist(),
            outcome.predictions.tolist(),
            calibrated.tolist(),
            outcome.confidences.tolist(),
            strict=True,
        )
        for path, label, predicted, probability, uncalibrated in rows:
            inside = task.inside(path)
            found.append(
                Predicted(
                    split=split,
                    path=inside,
                    hash=hashes[inside],
                    label=task.classes[label],
                    predicted=task.classes[predicted],
                    probability=probability,
                    uncalibrated=uncalibrated,
                    further={name: of[path] for name, of in task.further.items() if path in of},
                )
            )
    return found


def _calibrated(outcome: Evaluation, temperature: float) -> Tensor:
    """Probability of each image's predicted class, (N,), with the logits divided."""
    if outcome.probabilities is None or temperature == 1:
        return outcome.confidences
    # Up to a constant of each image, logarithms of probabilities are the logits.
    return (outcome.probabilities.log() / temperature).softmax(-1).amax(-1)
