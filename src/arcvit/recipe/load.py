"""Bring a finished run, or an adapter alone, back: its backbone with what was learned on it."""

from dataclasses import dataclass
from pathlib import Path

from arcvit.core.errors import UserError
from arcvit.core.result import RunResult, read_result
from arcvit.core.task import has_task
from arcvit.export.model_card import HUB_NAME
from arcvit.methods.stored import CONFIG_FILE
from arcvit.recipe.adapter import LoadedAdapter, load_adapter
from arcvit.recipe.parser import read_recipe
from arcvit.recipe.recipe import Recipe
from arcvit.recipe.run import ADAPTER_FOLDER, RECIPE_FILE


@dataclass(frozen=True, kw_only=True)
class LoadedRun(LoadedAdapter):
    """A finished run, ready for inference.

    Attributes:
        folder: the run folder.
        recipe: what was asked.
        result: what came out.
    """

    folder: Path
    recipe: Recipe
    result: RunResult


def load_trained(
    source: str | Path, *, backbone: str | None = None, device: str = "cpu", force: bool = False
) -> LoadedAdapter:
    """Load a finished run, as ``load_run`` does, an adapter folder, or one on the hub.

    Raises:
        UserError: it is none of these, or the backbone can't be had or isn't the same.
    """
    path = Path(source).expanduser()
    if not path.exists() and HUB_NAME.fullmatch(str(source)):
        return load_adapter(str(source), backbone=backbone, device=device, force=force)
    if has_task(path) or (path / CONFIG_FILE).is_file():
        return load_adapter(path, backbone=backbone, device=device, force=force)
    return load_run(path, backbone=backbone, device=device, force=force)


def load_run(
    run: Path, *, backbone: str | None = None, device: str = "cpu", force: bool = False
) -> LoadedRun:
    """Load a finished run.

    Args:
        run: the run folder.
        backbone: another place of the backbone than the recipe's; its weights must be the same.
        device: cpu, cuda or mps; auto takes the best there is.
        force: load onto other weights all the same.

    Raises:
        UserError: it isn't a finished run, or the backbone can't be had or isn't the same.
    """
    if not run.is_dir():
        raise UserError(
            f"run {str(run)!r} isn't there: expected a folder that arcvit train wrote, or an"
            " adapter's."
        )
    result = read_result(run)
    recipe = read_recipe(run / RECIPE_FILE)
    folder = run / ADAPTER_FOLDER
    if not folder.is_dir():
        raise UserError(f"{str(folder)!r} isn't there: the run is damaged.")
    adapter = load_adapter(folder, backbone=backbone, device=device, force=force)
    return LoadedRun(
        folder=run,
        recipe=recipe,
        result=result,
        model=adapter.model,
        task=adapter.task,
        means=adapter.means,
    )
