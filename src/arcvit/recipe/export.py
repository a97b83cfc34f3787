"""Write finished runs for other software, whole and compared, or not at all."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from arcvit.core.errors import UserError
from arcvit.core.files import atomic_path
from arcvit.data.pixels.augment import ToInput
from arcvit.export.adapted import AdaptedModel, Written, logits_on
from arcvit.export.calibrated import calibrate_head
from arcvit.export.formats import Format, check_export
from arcvit.recipe.adapter import LoadedAdapter
from arcvit.recipe.given import read
from arcvit.recipe.load import LoadedRun, load_trained
from arcvit.recipe.measured import ALL, open_measured
from arcvit.recipe.run import ADAPTER_FOLDER, Run

_IMAGES = 8
"""Images that what was written is compared on."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written.

    Attributes:
        path: the file or folder.
        bytes: its size.
        difference: the largest absolute difference of logits from the adapted model.
        compared_on: what the images were: photos of the run's, or random numbers.
        loading: lines of Python that load it without arcvit.
        notes: sentences on what it can't hold, or what else must be known.
    """

    path: Path
    bytes: int
    difference: float
    compared_on: str
    loading: str
    notes: tuple[str, ...]


def export_adapters(
    sources: Sequence[str | Path | Run],
    out: str | Path,
    *,
    format: str,
    backbone: str | None = None,
    force: bool = False,
    **flags: Any,
) -> Exported:
    """Write trained models for other software.

    Args:
        sources: runs or their folders, adapter folders, or adapters on the hub as ``USER/NAME``;
            one, but for formats that take several.
        out: the file or folder to write, which isn't there yet.
        format: a name of :data:`~arcvit.export.formats.FORMATS`.
        backbone: where the backbone lies now, if it has moved.
        force: load onto weights other than those they were trained on.
        flags: settings of the format.

    Raises:
        UserError: what is asked can't be done, or what was written gives other logits; then
            nothing is written.
    """
    target = Path(out)
    form = check_export(target, format=format, runs=len(sources), flags=flags)
    places = [source.folder if isinstance(source, Run) else source for source in sources]
    runs = [
        adapted_model(_loaded(place, backbone=backbone, force=force), name=name_of(place))
        for place in places
    ]
    return write_format(form, runs, target, **flags)


def write_format(form: Format, runs: Sequence[AdaptedModel], out: Path, **flags: Any) -> Exported:
    """Write runs in a format that was checked for them, with its flags."""
    with atomic_path(out) as partial:
        written: Written = form.write(runs, partial, **flags)
    files = [file for file in out.rglob("*") if file.is_file()] if out.is_dir() else [out]
    are_photos = all(run.photos for run in runs)
    return Exported(
        path=out,
        bytes=sum(file.stat().st_size for file in files),
        difference=written.difference,
        compared_on=f"{len(runs[0].images)} {'photos' if are_photos else 'random images'}",
        loading=written.loading(out),
        notes=written.notes,
    )


def _loaded(place: str | Path, *, backbone: str | None, force: bool) -> LoadedAdapter:
    """A run whose task names the backbone where it lies now."""
    loaded = load_trained(place, backbone=backbone, force=force)
    if backbone is None:
        return loaded
    moved = replace(loaded.task.backbone, name=backbone, commit=None)
    return replace(loaded, task=replace(loaded.task, backbone=moved))


def name_of(place: str | Path) -> str:
    """What a run is called: the name of its folder, also for its adapter, or where one stands."""
    path = Path(os.path.abspath(place))
    return path.parent.name if path.name == ADAPTER_FOLDER else path.name


def adapted_model(
    loaded: LoadedAdapter,
    *,
    name: str,
    model: nn.Module | None = None,
    calibrated: bool = True,
) -> AdaptedModel:
    """A loaded run as formats take it, with photos of its own data where they are at hand.

    Args:
        loaded: the run.
        name: what it is called.
        model: its model on the CPU, where that isn't as it was loaded.
        calibrated: put the temperature into the head, in place.
    """
    model = loaded.model if model is None else model
    images, photos = _photos(loaded) or (_noise(loaded), ())
    task = calibrate_head(model, loaded.task, images) if calibrated else loaded.task
    return AdaptedModel(
        name=name,
        model=model,
        task=task,
        preprocessing=loaded.preprocessing,
        images=images,
        photos=photos,
        expected=logits_on(model, images),
        means=loaded.means,
    )


def _photos(loaded: LoadedAdapter) -> tuple[Tensor, tuple[str, ...]] | None:
    """Photos of the run's own, prepared; None where it has none at hand."""
    paths = _paths(loaded) if isinstance(loaded, LoadedRun) else []
    chosen = paths[:: -(-len(paths) // _IMAGES) or 1]
    pixels, errors, _ = read(chosen, loaded.preprocessing)
    rows = [row for row in range(len(chosen)) if row not in errors]
    if not rows:
        return None
    to_input = ToInput.of(loaded.preprocessing).eval()
    return to_input(pixels[rows]), tuple(str(chosen[row]) for row in rows)


def _paths(loaded: LoadedRun) -> list[Path]:
    """Of a run's images those that it didn't learn from, as far as there are such."""
    data, kind = loaded.recipe.data, loaded.task.kind
    for split in ("test", "val", ALL):
        try:
            measured = open_measured(data, loaded.labels, split, kind=kind, ignore_unknown=True)
        except (UserError, OSError):  # there is no such split, or they have moved
            continue
        if len(measured.split):
            return list(measured.split.paths)
    return []


def _noise(loaded: LoadedAdapter) -> Tensor:
    height, width = loaded.preprocessing.size
    generator = torch.Generator().manual_seed(0)
    return torch.randn(_IMAGES, 3, height, width, generator=generator)
