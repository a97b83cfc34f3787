"""What of a run's meaning a plain model can't hold, in sentences."""

from dataclasses import replace

from arcvit.core.task import AdapterTask
from arcvit.data.findings import examples
from arcvit.data.pixels.preset import Decoding, Preprocessing

_MOST = 20
"""Thresholds that are named."""


def lost_in_plain_model(task: AdapterTask, prep: Preprocessing) -> tuple[str, ...]:
    """Everything that a plain model and its config go without."""
    sentences = (lost_in_config(prep), lost_calibration(task), lost_thresholds(task))
    return tuple(filter(None, sentences))


def lost_beside_metadata(task: AdapterTask) -> tuple[str, ...]:
    """What is to be known of a model whose metadata hold preprocessing and thresholds."""
    sentences = (lost_calibration(task), lost_thresholds(replace(task, thresholds=None)))
    return tuple(filter(None, sentences))


def lost_in_config(prep: Preprocessing) -> str:
    """What of a preprocessing no config of timm or transformers holds, as a sentence; or empty."""
    lost = []
    if prep.orientation == "upright":
        lost.append("turn photos upright by their EXIF orientation")
    if prep.grey_max != Decoding.grey_max:
        lost.append(f"scale grey values of 16 bits from 0 to {prep.grey_max:,}")
    if not lost:
        return ""
    return f"Its config can't hold how files were read: {' and '.join(lost)} before its transform."


def lost_thresholds(task: AdapterTask) -> str:
    """How a plain model's outputs are to be read with several labels an image; else empty."""
    if task.kind != "multilabel":
        return ""
    sentence = (
        "Its outputs are logits of independent labels: take the sigmoid of each, not softmax."
    )
    if task.thresholds is None:
        return sentence
    pairs = zip(task.labels, task.thresholds, strict=True)
    named = examples([f"{label} {threshold:.3f}" for label, threshold in pairs], most=_MOST)
    named += "; all are in the adapter's task.json" if len(task.labels) > _MOST else ""
    return f"{sentence} A label is given from this calibrated probability on: {named}."


def lost_calibration(task: AdapterTask) -> str:
    """What of a calibration a plain model goes without, as a sentence; or empty."""
    calibration = task.calibration
    if calibration is None:
        return ""
    squashing = "the sigmoid" if task.kind == "multilabel" else "softmax"
    if calibration.temperature == 1:
        return (
            f"Its head holds the calibration: {squashing} of its logits gives the probabilities"
            " that arcvit predict gives; what is unknown only the adapter tells."
        )
    return (
        "Its probabilities are calibrated where its logits are divided by"
        f" {calibration.temperature:.4g} before {squashing}; what is unknown only the"
        " adapter tells."
    )
