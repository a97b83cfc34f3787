"""Which images to learn from, and how they are prepared. No torch: the command line reads this."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from arcvit.core.errors import UserError, nearest
from arcvit.core.settings import Count, Positive, Range, Share, check_settings
from arcvit.core.task import Kind
from arcvit.data.pixels.preset import MAX_PIXELS, PRESETS, Decoding, orientation_of
from arcvit.data.readers.reader import Opening
from arcvit.data.task import JOINT

Seed = Annotated[int, Range(at_least=0, below=2**32)]
"""Seeds that every random generator takes."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the images are and how they are prepared.

    Attributes:
        path: a folder of class folders, with train/, val/, test/ below it where they exist; a
            folder in VTAB-1k or FGVC layout; or a CSV or TSV file.
        preset: preprocessing by name: vtab, vtab-raw, vtab-model, fgvc or model.
        orientation: pixels as they are stored or turned upright as EXIF says; preset: upright with
            the preset model, stored with those of benchmarks.
        max_pixels: images of more pixels, in the file or once resized, are refused.
        augment: what is done to training images: crop-flip (random crops and flips), flip, none, or
            preset: crop-flip with the presets model and fgvc, none with the VTAB presets.
        fit_on: train on the training split, or on training and validation split together (once
            everything is chosen).
        val_fraction: share of the training images held out where there is no validation split.
        test_fraction: share of the images held out where there are no splits at all.
        split_seed: seed of those splits, apart from the run's seed: runs of several seeds are then
            measured on the same images.
        shots: train on so many images of every class, drawn by shots_seed; for few-shot learning.
        shots_seed: default: the run's seed, so that several seeds are several draws.
        folds: for cross-validation: parts that training and validation images together are divided
            into by split_seed, groups as a whole.
        fold: the part that is validated on; the others are trained on.
        path_column: column of a CSV or TSV file that holds the image paths.
        label_column: column that holds the labels; default: label.
        label_columns: with task multilabel, columns of 0 and 1 that say which classes an image is
            of, each called as its class; default: found where all columns but path and split are
            such.
        label_delimiter: with task multilabel, what stands between the labels in a cell.
        split_column: column that holds train, val or test; may be absent.
        group_column: column that tells what an image shows, such as a patient or an animal: images
            of a group stay in one split, and results are given per group too.
        group_pattern: the same as a regular expression, looked for in an image's path inside the
            data; its first bracket, or all of it, is the group.
        ignore: what is left out of folders and tables: patterns of paths from the data's folder.
        check: look through all images before training, as arcvit data check does: refuse what would
            give a wrong result, only warn of it, or skip the look.
        on_bad: what to do with unreadable images: error lists them all, skip goes on without them.
        memory_gb: decoded images are kept in memory up to this size in GB, on disk beyond it.
        cache_dir: folder for decoded images beyond that size; default: the user's cache folder.
        workers: threads that decode images; default: one a core.
    """

    path: str
    preset: str = "model"
    orientation: Literal["preset", "stored", "upright"] = "preset"
    max_pixels: Count = MAX_PIXELS
    augment: Literal["preset", "none", "flip", "crop-flip"] = "preset"
    fit_on: Literal["train", "trainval"] = "train"
    val_fraction: Share = 0.2
    test_fraction: Share = 0.2
    split_seed: Seed = 0
    shots: Count | None = None
    shots_seed: Seed | None = None
    folds: Annotated[int, Range(at_least=2)] | None = None
    fold: Annotated[int, Range(at_least=0)] = 0
    path_column: str = "path"
    label_column: str | None = None
    label_columns: list[str] = field(default_factory=list)
    label_delimiter: str = JOINT
    split_column: str = "split"
    group_column: str | None = None
    group_pattern: str | None = None
    ignore: list[str] = field(default_factory=list)
    check: Literal["refuse", "warn", "skip"] = "refuse"
    on_bad: Literal["error", "skip"] = "error"
    memory_gb: Positive = 2.0
    cache_dir: str | None = None
    workers: Count | None = None

    def __post_init__(self) -> None:
        check_settings("data", self)
        if self.preset not in PRESETS:
            raise UserError(
                f"data.preset is {self.preset!r}: expected one of {', '.join(PRESETS)}."
                f"{nearest(self.preset, PRESETS)}"
            )
        self.opening()  # has checks of its own

    def opening(self, kind: Kind = "single") -> Opening:
        """How ``open_task`` opens a task of that kind."""
        return Opening(
            kind=kind,
            val_fraction=self.val_fraction,
            test_fraction=self.test_fraction,
            seed=self.split_seed,
            shots=self.shots,
            shots_seed=self.shots_seed or 0,
            folds=self.folds,
            fold=self.fold,
            path_column=self.path_column,
            label_column=self.label_column,
            label_columns=tuple(self.label_columns),
            label_delimiter=self.label_delimiter,
            split_column=self.split_column,
            group_column=self.group_column,
            group_pattern=self.group_pattern,
            ignore=tuple(self.ignore),
        )

    def decoding(self) -> Decoding:
        """How image files become RGB, before the range of grey values is known."""
        return Decoding(
            orientation=orientation_of(self.preset, self.orientation), max_pixels=self.max_pixels
        )
