"""Fold a finished run into a plain model of timm or transformers."""

import tempfile
from dataclasses import replace
from pathlib import Path

from arcvit.core.errors import UserError
from arcvit.core.files import put_in_place
from arcvit.export.formats import FORMATS
from arcvit.export.timm_folder import CONFIG, WEIGHTS
from arcvit.export.transformers_folder import is_transformers_model
from arcvit.recipe.adapter import LoadedAdapter
from arcvit.recipe.export import Exported, adapted_model, write_format


def merge_run(loaded: LoadedAdapter, out: Path) -> Exported:
    """Fold a run and write it as its backbone's library keeps a model.

    Args:
        loaded: the run; its model stays as it is.
        out: a folder; of a timm model also ``NAME.safetensors``, with its config in ``NAME.json``.

    Raises:
        UserError: the target is taken, or plain timm or transformers doesn't give the same logits.
    """
    check_target(out)
    model = adapted_model(loaded, name=out.stem, calibrated=False)
    of_transformers = is_transformers_model(model.base)
    if of_transformers and out.suffix == ".safetensors":
        raise UserError(
            f"--out {str(out)!r}: expected a folder, which is how transformers keeps a model."
        )
    form = FORMATS["transformers" if of_transformers else "timm"]
    if out.suffix != ".safetensors":
        return write_format(form, [model], out)
    # On the file system of the target: a rename must not cross file systems.
    place = next(parent for parent in out.absolute().parents if parent.is_dir())
    with tempfile.TemporaryDirectory(dir=place) as scratch:
        exported = write_format(form, [model], Path(scratch) / "model")
        out.parent.mkdir(parents=True, exist_ok=True)
        put_in_place(exported.path / CONFIG, out.with_suffix(".json"))
        put_in_place(exported.path / WEIGHTS, out)
    return replace(exported, path=out, loading="")


def check_target(out: Path) -> None:
    """Refuse a target that is taken, or that has the name of another kind of file.

    Raises:
        UserError: names it.
    """
    if out.suffix not in ("", ".safetensors"):
        raise UserError(
            f"--out {str(out)!r}: expected NAME.safetensors, or a folder for timm's local-dir."
        )
    taken = [out, out.with_suffix(".json")] if out.suffix else [out]
    for file in taken:
        if file.exists() and not (file.is_dir() and not any(file.iterdir())):
            raise UserError(f"{str(file)!r} is there already: choose another --out or remove it.")
