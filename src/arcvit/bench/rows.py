"""Rows of a bench: a method with settings, and the backbone it is put on. No torch."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arcvit.core.errors import UserError
from arcvit.methods.row import MethodRow, parse_row, split_outside


@dataclass(frozen=True, kw_only=True)
class RowName:
    """What a row is called.

    Attributes:
        method: label of the method with its settings, as ``arc:share=none``.
        backbone: the backbone where rows are told apart by it; None: the recipe's.
    """

    method: str
    backbone: str | None = None

    def __str__(self) -> str:
        """As in messages and pictures."""
        return self.method if self.backbone is None else f"{self.method} on {self.short_backbone}"

    @property
    def short_backbone(self) -> str:
        """The backbone without the folders it lies in."""
        return Path(self.backbone or "").name

    @property
    def folder(self) -> str:
        """The name of the folder of its runs."""
        name = self.method if self.backbone is None else f"{self.method}@{self.short_backbone}"
        return re.sub(r"[^\w.=+@-]+", "-", name).strip("-")

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"method": self.method, "backbone": self.backbone}


@dataclass(frozen=True, kw_only=True)
class BenchRow:
    """A row to run.

    Attributes:
        name: what it is called.
        method: the method with its settings.
    """

    name: RowName
    method: MethodRow


def bench_rows(methods: str, backbones: str | None) -> tuple[BenchRow, ...]:
    """The rows of ``--methods`` and ``--backbones``.

    Raises:
        UserError: a method or a setting isn't known, or two rows would be the same.
    """
    parsed = [parse_row(text, key="--methods") for text in split_list(methods, "methods")]
    places: list[str | None] = [None]
    if backbones is not None:
        places = list(split_list(backbones, "backbones"))
    rows = tuple(
        BenchRow(name=RowName(method=method.label, backbone=backbone), method=method)
        for backbone in places
        for method in parsed
    )
    seen: dict[str, RowName] = {}
    for row in rows:
        if row.name.folder in seen:
            raise UserError(
                f"--methods: {seen[row.name.folder]} and {row.name} would be one row,"
                f" {row.name.folder}: expected rows that differ."
            )
        seen[row.name.folder] = row.name
    return rows


def split_list(text: str, what: str) -> list[str]:
    """``a,b=[c,d]`` as a and b=[c,d].

    Raises:
        UserError: nothing is named, or something twice.
    """
    items: Sequence[str] = [item for item in split_outside(text, ",") if item]
    if not items or len(set(items)) != len(items):
        raise UserError(f"--{what} is {text!r}: expected different names with commas between.")
    return list(items)
