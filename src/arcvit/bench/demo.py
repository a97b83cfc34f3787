"""The demo: three methods on bundled photos with the bundled backbone, a table and a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import torch
from peft import PeftModel
from rich.console import Console
from rich.table import Table
from torch import Tensor

from arcvit.bench.pictures import accuracy_against_size
from arcvit.bench.table import Cell, Row
from arcvit.core.result import RunResult, read_result
from arcvit.data.config import DataConfig
from arcvit.data.pixels.augment import ToInput
from arcvit.data.pixels.bank import ImageBank
from arcvit.engine.config import EngineConfig
from arcvit.pages.page import data_uri, write_page
from arcvit.recipe.execute import execute
from arcvit.recipe.images import decode_split
from arcvit.recipe.load import LoadedRun, load_run
from arcvit.recipe.prepare import open_recipe_task
from arcvit.recipe.recipe import Recipe
from arcvit.recipe.run import Run

METHODS: tuple[str, ...] = ("linear", "arc_att", "arc")
EPOCHS = 20
_PHOTOS = 12
_HEADER = ("method", "adapter", "head", "test accuracy", "seconds", "adapter file")


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What came out of the demo.

    Attributes:
        results: the record of each method.
        fold_difference: largest difference of ARC's logits over the test photos, folded and not.
        page: the page that was written.
    """

    results: tuple[RunResult, ...]
    fold_difference: float
    page: Path


def run_demo(
    out: Path, console: Console, *, seed: int = 0, epochs: int = EPOCHS, quiet: bool = False
) -> Demo:
    """Train each method into a run folder of its own, print a table, write ``index.html``.

    A method that has finished before is not run again.

    Raises:
        UserError: a method has finished before with other settings.
    """
    recipes = {method: demo_recipe(method, seed=seed, epochs=epochs) for method in METHODS}
    planned = [Run(recipe, out / method) for method, recipe in recipes.items()]
    for run in planned:
        run.check_same()
    for run in planned:
        if run.is_finished:
            said = f"{run.recipe.method}: finished before"
            console.print(said, highlight=False, soft_wrap=True)
        else:
            execute(run, console, quiet=quiet, looked=True)
    results = tuple(read_result(out / method) for method in METHODS)
    runs = {method: load_run(out / method) for method in METHODS}
    test = _test_photos(runs["arc"])
    logits = {method: _logits(run, test) for method, run in runs.items()}
    fold_difference = _fold_difference(runs["arc"], test, logits["arc"])
    rows = [table_row(result) for result in results]
    table = Table(*_HEADER)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print(
        f"folded into the backbone, ARC's logits differ by at most {fold_difference:.1e}",
        highlight=False,
        soft_wrap=True,
    )
    page = out / "index.html"
    stride = len(test) // _PHOTOS
    write_page(
        page,
        "demo.html.j2",
        rows=rows,
        train_images=results[0].train_images,
        test_images=len(test),
        classes=results[0].classes,
        epochs=epochs,
        seed=seed,
        version=results[0].arcvit_version,
        fold_difference=f"{fold_difference:.1e}",
        plot=data_uri(accuracy_against_size(map(_as_row, results)) or b"", "image/png"),
        stride=stride,
        photos=_photos(test, stride, runs["arc"].labels, logits),
    )
    console.print(f"open {page}", highlight=False, soft_wrap=True)
    return Demo(results=results, fold_difference=fold_difference, page=page)


def demo_recipe(method: str, *, seed: int, epochs: int) -> Recipe:
    """What the demo does with a method: the defaults, on all bundled training photos."""
    photos = str(resources.files("arcvit") / "assets" / "grocery")
    return Recipe(
        data=DataConfig(path=photos, fit_on="trainval"),
        backbone="demo",
        method=method,
        engine=EngineConfig(epochs=epochs, track=[], checkpoint_every=5),
        seed=seed,
    ).resolved()


def table_row(result: RunResult) -> tuple[str, ...]:
    """A result as cells: parameters, accuracy, seconds, file size."""
    accuracy = "-" if result.test_accuracy is None else f"{result.test_accuracy:.1%}"
    size = f"{result.adapter_bytes / 1000:.0f} KB" if result.adapter_bytes else "-"
    return (
        result.method,
        f"{result.params['adapter']:,}",
        f"{result.params['head']:,}",
        accuracy,
        f"{sum(result.seconds.values()):.0f}",
        size,
    )


def _as_row(result: RunResult) -> Row:
    """A result as the line of a table, for the picture."""
    accuracy = result.test_accuracy
    return Row(
        label=result.method,
        method=result.method,
        backbone=result.backbone,
        published=False,
        tasks={},
        groups={},
        mean=None if accuracy is None else Cell(mean=100 * accuracy),
        group_mean=None,
        total=result.params["total"],
    )


def _test_photos(run: LoadedRun) -> ImageBank:
    task = open_recipe_task(run.recipe)
    return decode_split(task.split("test"), run.preprocessing, run.recipe.data)


@torch.inference_mode()
def _logits(run: LoadedRun, images: ImageBank) -> Tensor:
    to_input = ToInput.of(run.preprocessing).eval()
    return torch.cat([run.model(to_input(batch)) for batch in images.images.split(128)])


def _fold_difference(run: LoadedRun, images: ImageBank, adapted: Tensor) -> float:
    assert isinstance(run.model, PeftModel)
    run.model.merge_adapter(safe_merge=True)
    difference = (_logits(run, images) - adapted).abs().max().item()
    run.model.unmerge_adapter()
    return difference


def _photos(
    test: ImageBank, stride: int, classes: Sequence[str], logits: Mapping[str, Tensor]
) -> list[dict[str, object]]:
    shown: list[dict[str, object]] = []
    for index in range(stride // 2, stride * _PHOTOS, stride):
        answers = []
        for method in ("arc", "linear"):
            probability, label = logits[method][index].softmax(-1).max(-1)
            answers.append(
                {
                    "method": method,
                    "name": classes[int(label)],
                    "probability": f"{probability.item():.0%}",
                }
            )
        shown.append(
            {
                "image": data_uri(test.paths[index].read_bytes(), "image/jpeg"),
                "truth": classes[int(test.labels[index])],
                "answers": answers,
            }
        )
    return shown
