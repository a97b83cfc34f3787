"""What a run says of each image that it measured: ``predictions.csv``. No torch."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from arcvit.core.csv_table import write_csv
from arcvit.core.errors import UserError

PREDICTIONS_FILE = "predictions.csv"
OUT_OF_FOLD_FILE = "out_of_fold.csv"
OUT_OF_FOLD = "out_of_fold"
"""In place of a split: what each image is taken for by the model of the fold that left it out."""
_COLUMNS = ("split", "path", "hash", "label", "predicted", "probability", "uncalibrated")
_GIVEN = "given"
"""A column more in ``out_of_fold.csv``, before further ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Predicted:
    """What is said of one image.

    Attributes:
        split: val, test or out_of_fold.
        path: inside the task's folder.
        hash: of the file's content.
        label: name of the true class; of several labels an image all of them, ``|`` between.
        predicted: name of the class that the model takes it for, or of all labels that it gives.
        probability: of the likeliest class, calibrated where the run is.
        uncalibrated: the same as softmax or sigmoid gives it.
        given: probability of the true class, calibrated; None where it isn't kept, as it is of the
            images that folds left out.
        further: what further columns of the data's table say of it, by their names.
    """

    split: str
    path: str
    hash: str
    label: str
    predicted: str
    probability: float
    uncalibrated: float
    given: float | None = None
    further: dict[str, str] = field(default_factory=dict)

    @property
    def is_right(self) -> bool:
        """Whether the model takes it for what it is."""
        return self.label == self.predicted


def write_predictions(
    run: Path, images: Sequence[Predicted], *, name: str = PREDICTIONS_FILE
) -> None:
    """Write ``predictions.csv`` into a run folder, or another table alike, atomically.

    Names that a spreadsheet would calculate get an apostrophe, as :func:`csv_cell` says.
    """
    further = list(dict.fromkeys(name for image in images for name in image.further))
    keeps = name == OUT_OF_FOLD_FILE and all(image.given is not None for image in images)

    def row(image: Predicted) -> list[str]:
        names = [image.split, image.path, image.hash, image.label, image.predicted]
        sure = [f"{image.probability:.6g}", f"{image.uncalibrated:.6g}"]
        sure += [f"{image.given:.6g}"] if keeps else []
        return [*names, *sure, *(image.further.get(name, "") for name in further)]

    write_csv(run / name, [*_COLUMNS, *[_GIVEN] * keeps, *further], map(row, images))


def read_predictions(run: Path) -> list[Predicted]:
    """What a run says of the images it measured, and of those that its folds left out.

    Names are as :func:`csv_cell` writes them.

    Raises:
        UserError: the file isn't there, or is damaged.
    """
    file = run / PREDICTIONS_FILE
    if not file.is_file():
        raise UserError(
            f"{str(run)!r} has no {PREDICTIONS_FILE}: expected a finished run that measured images."
        )
    images = _read(file)
    if (run / OUT_OF_FOLD_FILE).is_file():
        images += _read(run / OUT_OF_FOLD_FILE)
    return images


def _read(file: Path) -> list[Predicted]:
    images = []
    try:
        with file.open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
            lines = csv.reader(stream, strict=True)
            columns = next(lines, [])
            if tuple(columns[: len(_COLUMNS)]) != _COLUMNS:
                raise ValueError(f"its columns are {', '.join(columns) or 'none'}")
            # A table of images may have a column of that name, too.
            keeps = file.name == OUT_OF_FOLD_FILE and columns[len(_COLUMNS) :][:1] == [_GIVEN]
            own = len(_COLUMNS) + keeps
            for line in lines:
                split, path, content, label, predicted, *sure = line[:own]
                probability, uncalibrated, *given = map(float, sure)
                names = columns[own:]
                images.append(
                    Predicted(
                        split=split,
                        path=path,
                        hash=content,
                        label=label,
                        predicted=predicted,
                        probability=probability,
                        uncalibrated=uncalibrated,
                        given=given[0] if given else None,
                        further=dict(zip(names, line[own:], strict=True)),
                    )
                )
    except (ValueError, csv.Error) as error:
        raise UserError(
            f"{file} is damaged: expected {', '.join(_COLUMNS)} in each line ({error})."
        ) from error
    return images
