"""What a reader takes and gives: how a task is opened, and the task with what is wrong with it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

from arcvit.core.errors import UserError
from arcvit.core.task import Kind
from arcvit.data.findings import Finding
from arcvit.data.task import JOINT, ImageTask

LABEL_COLUMN = "label"
"""The column of labels where no other is named."""


@dataclass(frozen=True, kw_only=True)
class Opening:
    """How a task is opened.

    Raises:
        UserError: a share outside [0, 1).
    """

    kind: Kind = "single"
    """Whether an image has one label (single) or any number of them (multilabel)."""
    val_fraction: float = 0.2
    """Share of every class to hold out where there is no validation split, [0, 1)."""
    test_fraction: float = 0.2
    """Share of every class to hold out where there are no splits at all, [0, 1)."""
    seed: int = 0
    """Decides which images are held out."""
    path_column: str = "path"
    """Of a table: the column of image paths."""
    label_column: str | None = None
    """Of a table: the column of labels; None: ``LABEL_COLUMN``, unless a multilabel table has
    columns of 0 and 1."""
    label_columns: Sequence[str] = ()
    """Of a multilabel table: columns of 0 and 1, each called as the class it is of."""
    label_delimiter: str = JOINT
    """Of a multilabel table: what stands between the labels in a cell."""
    split_column: str = "split"
    """Of a table: the column of splits. Only the default name may be missing."""
    group_column: str | None = None
    """Of a table: the column that tells what an image shows, such as a patient."""
    group_pattern: str | None = None
    """The same as a pattern that is looked for in the path inside the task's folder: its first
    bracket, or all of it."""
    to_measure: bool = False
    """Whether nothing is to be learned: train may be absent, and one class will do."""
    kind_is_known: bool = False
    """Whether a model says the kind, so that there is no ``--task`` to be given."""
    folds: int | None = None
    """Parts that training and validation images are divided into; None: the splits stay."""
    fold: int = 0
    """The part to validate on; the others are trained on."""
    shots: int | None = None
    """Training images of a class; None: all. What is only measured isn't drawn from."""
    shots_seed: int = 0
    """Decides which."""
    ignore: Sequence[str] = ()
    """Of class folders and tables: what is left out, as patterns of paths from the folder."""

    def __post_init__(self) -> None:
        for name in ("val_fraction", "test_fraction"):
            if not 0 <= (value := getattr(self, name)) < 1:
                raise UserError(
                    f"{name} is {value}: expected a share of at least 0 and less than 1."
                )
        if not self.label_delimiter:
            raise UserError(
                f"data.label_delimiter is empty: expected what stands between labels, as {JOINT}."
            )
        if self.group_pattern is not None:
            try:
                re.compile(self.group_pattern)
            except re.error as error:
                raise UserError(
                    f"data.group_pattern is {self.group_pattern!r}: expected a regular expression"
                    f" ({error})."
                ) from error

    def or_task(self, advice: str, otherwise: str = "") -> str:
        """Advice about ``--task``, or what to say where it isn't there to be given."""
        return otherwise if self.kind_is_known else advice

    def leaves_out(self, path: Path, root: Path) -> bool:
        """Whether a path, or a folder around it, is one of those to ignore."""
        if not self.ignore:
            return False
        inside = path.relative_to(root) if path.is_relative_to(root) else path
        places = [place.as_posix() for place in (inside, *inside.parents)]
        globs = [glob.rstrip("/").removesuffix("/**") for glob in self.ignore]
        return any(fnmatchcase(place, glob) for place in places for glob in globs)

    def group_of(self, path: Path, root: Path) -> str | None:
        """What an image shows, told from its path; None where the pattern isn't in it."""
        inside = path.relative_to(root) if path.is_relative_to(root) else path
        found = re.search(self.group_pattern or "", inside.as_posix())
        return None if found is None else found[1 if found.re.groups else 0]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A task as far as it can be read."""

    task: ImageTask
    """Whole where no finding spoils it."""
    findings: tuple[Finding, ...] = ()
    """What would give a wrong result, in the order in which it was met."""
    absent: Mapping[str, str] = field(default_factory=dict)
    """For each split that has no list of its own, what isn't there."""
    held_out: tuple[str, ...] = ()
    """Those of the absent splits that were taken out of train."""


class Reader(Protocol):
    """A module for one layout."""

    def recognises(self, path: Path) -> bool:
        """Whether a file or folder is in the layout, or meant to be."""

    def read(self, path: Path, opening: Opening) -> Reading:
        """Read a task.

        Raises:
            UserError: so much is wrong that there is nothing to read.
        """
