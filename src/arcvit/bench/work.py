"""What a bench has its workers do: choose the precision, look at a task's images, train."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from arcvit.bench.admission import Known, admit
from arcvit.bench.store import Store
from arcvit.bench.suite import SuiteTask
from arcvit.core.console import PlainConsole
from arcvit.core.metrics import learned_nothing, read_metrics
from arcvit.core.result import read_result
from arcvit.engine.device import choose_device
from arcvit.engine.loop import NonFiniteLoss
from arcvit.engine.precision import choose_precision
from arcvit.methods.table import plug_in
from arcvit.recipe.execute import execute
from arcvit.recipe.keys import METHOD_FROM
from arcvit.recipe.parser import parse_recipe
from arcvit.recipe.recipe import Recipe
from arcvit.recipe.run import Run

_PLUGIN = "--plugin "


def settle_precision(recipe: Mapping[str, Any]) -> str:
    """The precision that ``auto`` stands for on this worker, for the runs on all of them."""
    return precision_for(_recipe(recipe))


def precision_for(recipe: Recipe) -> str:
    """What ``auto`` stands for in a recipe, here."""
    return choose_precision(
        choose_device(recipe.engine.device),
        recipe.backbone,
        batch_size=recipe.engine.batch_size,
        image_size=recipe.image_size,
    )


def look(task: SuiteTask, recipe: Mapping[str, Any], known: Known) -> dict[str, Any]:
    """Look through the images of a task.

    Returns:
        ``said``, lines about them, and ``record`` for ``data.json``, None where it is as before.

    Raises:
        UserError: they would give a wrong result.
    """
    said: list[str] = []
    record = admit(task, _recipe(recipe), known, said.append)
    return {"said": said, "record": record}


def train(recipe: Mapping[str, Any], folder: str, *, final: bool) -> dict[str, Any]:
    """Do a run, or what is left of it; see :func:`came_of`.

    One whose loss isn't finite is no failure: it gives ``diverged``, the sentence that says so.

    Args:
        recipe: as the keys of its YAML file.
        folder: of the run.
        final: read the test split.

    Raises:
        UserError: anything wrong with it.
    """
    run = Run(_recipe(recipe), Path(folder), read_test=final)
    if run.is_finished:  # by a worker that died before it could say so
        return came_of(run.folder)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        execute(run, PlainConsole(), quiet=True, looked=True)
    except NonFiniteLoss as error:
        return {"diverged": str(error)}
    return came_of(run.folder)


def train_away(
    recipe: Mapping[str, Any], address: str, name: str, *, final: bool
) -> dict[str, Any]:
    """Do a run in a folder of this machine, and put it under an address once it has finished.

    Args:
        recipe: as for :func:`train`.
        address: of the bench's results.
        name: of the run there.
        final: as for :func:`train`.

    Raises:
        UserError: as from :func:`train`, or the address can't be used.
    """
    store = Store(address)
    with TemporaryDirectory(prefix="arcvit-") as scratch:
        folder = Path(scratch) / "run"
        if store.fetch(name, folder):  # a worker that was cut off has finished it
            return came_of(folder)
        came = train(recipe, str(folder), final=final)
        if "diverged" not in came:
            store.put(folder, name)
        return came


def came_of(folder: Path) -> dict[str, Any]:
    """What a bench wants to know of a finished run.

    Returns:
        ``val``, what is chosen by on validation; ``test`` accuracy; ``seconds``; and
        ``complaint``, None where it has learned.
    """
    result = read_result(folder)
    return {
        "val": result.chosen_by,
        "test": result.main("test"),
        "seconds": sum(result.seconds.values()),
        "complaint": learned_nothing(read_metrics(folder), result.guessing_loss),
    }


def _recipe(values: Mapping[str, Any]) -> Recipe:
    origin = str(values.get(METHOD_FROM, ""))
    if origin.startswith(_PLUGIN):  # the command line of a worker names no plug-ins
        plug_in(origin.removeprefix(_PLUGIN))
    return parse_recipe((), values)
