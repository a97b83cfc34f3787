"""Look through a run's images before anything is learned, as ``arcvit data check`` does."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from arcvit.core.errors import UserError
from arcvit.core.task import Kind
from arcvit.data.catalogue import BenchmarkTask
from arcvit.data.check.report import check_task
from arcvit.data.config import DataConfig
from arcvit.data.findings import Finding
from arcvit.data.readers.layouts import MATTERS_OF_OPINION
from arcvit.recipe.prepare import open_recipe_task
from arcvit.recipe.recipe import Recipe


def look_through(
    data: DataConfig,
    say: Callable[[str], None],
    *,
    kind: Kind = "single",
    benchmark: BenchmarkTask | None = None,
    needs_splits: bool = False,
) -> list[str]:
    """Refuse images that would give a wrong result, and say what may spoil a comparison.

    Every image is decoded once.

    Args:
        data: the images, and whether what is found is refused or only said (``data.check``).
        say: told each warning.
        kind: whether an image has one label or any number of them.
        benchmark: which benchmark task they are; None goes by the folder's name.
        needs_splits: whether a validation and a test split must be there.

    Returns:
        The warnings.

    Raises:
        UserError: something ``arcvit data check`` says would spoil a result.
    """
    if data.check == "skip":
        return []
    report = check_task(Path(data.path), kind=kind, benchmark=benchmark, data=asdict(data))
    found = list(report.findings)
    if data.on_bad == "error" and not needs_splits:
        # Decoding, which is next, names those of all splits at once.
        found = [finding for finding in found if finding.kind != "unreadable-files"]
    spoilt = [f for f in found if _spoils(f, data, needs_splits=needs_splits)]
    if spoilt and data.check == "refuse":
        worst = spoilt[0]
        passes = worst.kind in MATTERS_OF_OPINION or worst.kind in ("blank-images", "union")
        raise UserError(
            f"{data.path} would give a wrong result: {worst.text} Repair it (arcvit data check"
            f" shows all that is wrong){', or go on with --data.check warn' if passes else ''}."
        )
    warnings = [finding.text for finding in found if finding.severity != "note"]
    for text in warnings:
        say(f"warning: {text}")
    return warnings


def look_for_all(recipe: Recipe, accelerator: Accelerator, say: Callable[[str], None]) -> None:
    """Of several processes the main one looks through the images, and all stop where it refuses.

    Raises:
        UserError: as ``look_through``.
    """
    refusal: list[str | None] = [None]
    if accelerator.is_main_process:
        try:
            open_recipe_task(recipe)  # what lists tell needs no look at the images
            look_through(recipe.data, say, kind=recipe.task)
        except UserError as error:
            refusal = [str(error)]
    broadcast_object_list(refusal)
    if refusal[0] is not None:
        raise UserError(refusal[0])


def _spoils(finding: Finding, data: DataConfig, *, needs_splits: bool) -> bool:
    if finding.kind == "unreadable-files" and data.on_bad == "skip":
        return False
    return finding.severity == "spoils" or (needs_splits and finding.kind == "absent-split")
