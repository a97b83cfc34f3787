"""What came out of a run: ``result.json``, whose presence means that the run is finished."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from arcvit.core.errors import UserError
from arcvit.core.files import read_json, write_json
from arcvit.core.metric import METRICS, Metric
from arcvit.core.settings import check_settings
from arcvit.core.task import Kind

RESULT_FILE = "result.json"


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """The record of a finished run.

    Attributes:
        task: name of the data.
        kind: whether an image has one label (single) or any number of them (multilabel).
        backbone: name of the backbone.
        backbone_fingerprint: fingerprint of its weights.
        method: what was trained: arc, arc_att, linear, ...
        seed: seed of order, initialisation and dropout.
        preset: preprocessing preset.
        selection: which images were fitted and how the epoch was chosen.
        metric: what is chosen by on the validation split.
        classes: number of classes.
        train_images: images trained on.
        skipped_images: unreadable images that were left out.
        params: trained values: adapter, head, total; and stored: those of the adapter with what it
            stores untrained.
        metrics: by split, val and test, what came out by name, as fractions: accuracy,
            balanced_accuracy and macro_f1; of several labels an image mAP, macro_f1, micro_f1 and
            exact_match, with the thresholds that were chosen on the validation split, so that its
            own F1 is flattered.
        val_accuracy: top-1 on the validation split as a fraction, null where not measured, as with
            several labels an image.
        test_accuracy: top-1 on the test split as a fraction, null where not measured.
        val_balanced_accuracy: mean of the classes' accuracies on the validation split.
        test_balanced_accuracy: the same on the test split.
        guessing_loss: training loss of what says the same of every image.
        out_of_fold: of a run with folds, what their models say of the images they left out: folds,
            images, accuracy, low and high (its 95 % interval), balanced_accuracy, macro_f1.
        majority_share: share of the most frequent class in the test split, where there is none in
            the validation split: what always answering it would get.
        test_group_accuracy: top-1 of groups of test images, each answered by the mean of its
            images' probabilities; null without groups, and with several labels an image.
        test_groups: number of those groups.
        epochs: epochs trained.
        seconds: time in seconds: train, eval; and folds, all of them.
        images_per_second: training images a second.
        peak_memory_mb: largest memory of the device (of the process on a CPU) in MB; null
            where the system doesn't tell.
        adapter_bytes: size of what was learned without the head, as a file.
        versions: versions of the libraries that matter.
        arcvit_version: version of arcvit.
    """

    task: str
    kind: Kind
    backbone: str
    backbone_fingerprint: str | None
    method: str
    seed: int
    preset: str
    selection: str
    metric: Metric
    classes: int
    train_images: int
    skipped_images: int
    params: dict[str, int]
    metrics: dict[str, dict[str, float | None]]
    val_accuracy: float | None
    test_accuracy: float | None
    val_balanced_accuracy: float | None
    test_balanced_accuracy: float | None
    guessing_loss: float
    out_of_fold: dict[str, float] | None
    majority_share: float | None
    test_group_accuracy: float | None
    test_groups: int | None
    epochs: int
    seconds: dict[str, float]
    images_per_second: float
    peak_memory_mb: float | None
    adapter_bytes: int
    versions: dict[str, str]
    arcvit_version: str

    def main(self, split: str) -> float | None:
        """The main metric of a split: accuracy, or mAP of several labels an image."""
        return self.metrics.get(split, {}).get(METRICS[self.kind][0])

    @property
    def chosen_by(self) -> float | None:
        """The metric on validation images, by which runs are chosen; None: not measured."""
        measured: Mapping[str, float | None] = self.metrics.get("val") or self.out_of_fold or {}
        return measured.get(self.metric)

    def write(self, run: Path) -> None:
        """Write ``result.json`` into a run folder, last and atomically."""
        write_json(run / RESULT_FILE, dataclasses.asdict(self))


def is_finished(run: Path) -> bool:
    """Whether a run folder holds a finished run."""
    return (run / RESULT_FILE).is_file()


def read_result(run: Path) -> RunResult:
    """The record of a finished run.

    Raises:
        UserError: the folder holds no finished run, or its record is damaged or was written by
            another version.
    """
    if not is_finished(run):
        raise UserError(
            f"{str(run)!r} is not a finished run: expected {RESULT_FILE} in it; arcvit train makes"
            " one, and the same command resumes an unfinished one."
        )
    try:
        record = read_json(run / RESULT_FILE)
    except UserError as error:
        raise UserError(f"{error} Remove it: the same command trains the run again.") from error
    known = {f.name for f in dataclasses.fields(RunResult)}
    if set(record) != known:
        raise UserError(
            f"{run / RESULT_FILE} was written by another version of arcvit"
            f" ({record.get('arcvit_version', 'unknown')}): its fields differ by"
            f" {', '.join(sorted(set(record) ^ known))}."
        )
    result = RunResult(**record)
    check_settings(str(run / RESULT_FILE), result)
    return result
