"""The demo: two tasks on the bundled backbone, answered in one batch, shown on one page."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import torch
from peft import PeftModel
from rich.console import Console
from rich.table import Table
from torch import Tensor

from arcvit.arc.heads import split_logits
from arcvit.core.intervals import wilson
from arcvit.core.predictions import read_predictions
from arcvit.core.result import RunResult, read_result
from arcvit.data.config import DataConfig
from arcvit.data.pixels.augment import ToInput
from arcvit.data.pixels.bank import ImageBank
from arcvit.engine.config import EngineConfig
from arcvit.pages.page import data_uri, write_page
from arcvit.recipe.compare import Difference, compare
from arcvit.recipe.execute import execute
from arcvit.recipe.images import decode_split
from arcvit.recipe.load import LoadedRun, load_run
from arcvit.recipe.prepare import open_recipe_task
from arcvit.recipe.recipe import Recipe
from arcvit.recipe.run import Run

TASKS = {"grocery": "20 kinds of groceries", "shapes": "4 kinds of drawn shapes"}
"""The bundled tasks: folders of the package, and what they are."""
METHODS = ("linear", "arc")
EPOCHS = 12
_SHOWN = 6
"""Photos of each task in the mixed batch."""
_HEADER = ("task", "method", "adapter", "head", "test accuracy", "95% interval", "seconds", "file")
_NEXT = (
    "next, with your own photos, a folder for each class:",
    "  arcvit data check PHOTOS",
    "  arcvit train PHOTOS",
    "  arcvit predict runs/PHOTOS-arc-demo NEW_PHOTOS --csv answers.csv",
    "the bundled backbone is a small one of 64 pixels: --backbone vit_base_patch16_224.augreg_in21k"
    " is a better start",
)


@dataclass(frozen=True, kw_only=True)
class Line:
    """What came out of a method on a task.

    Attributes:
        task: the task.
        result: the record of the run.
        low: lower end of the interval of its test accuracy.
        high: upper end.
    """

    task: str
    result: RunResult
    low: float
    high: float

    @property
    def cells(self) -> tuple[str, ...]:
        """As the table shows it."""
        result, size = self.result, self.result.adapter_bytes
        return (
            self.task,
            result.method,
            f"{result.params['adapter']:,}",
            f"{result.params['head']:,}",
            f"{result.test_accuracy or 0:.1%}",
            f"{self.low:.0%} to {self.high:.0%}",
            f"{sum(result.seconds.values()):.0f}",
            f"{size / 1000:.0f} KB" if size else "-",
        )


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What came out of the demo.

    Attributes:
        lines: each method on each task.
        gains: of each task, what ARC has right and the linear probe hasn't, and the other way.
        mixed_difference: largest difference of logits, both tasks in one batch and each alone.
        fold_difference: the same, folded into the backbone and not.
        page: the page that was written.
    """

    lines: tuple[Line, ...]
    gains: dict[str, Difference]
    mixed_difference: float
    fold_difference: float
    page: Path


def run_demo(
    out: Path, console: Console, *, seed: int = 0, epochs: int = EPOCHS, quiet: bool = False
) -> Demo:
    """Train each method on each task, print a table, and write ``index.html``.

    What has finished before is not run again.

    Raises:
        UserError: something has finished before with other settings.
    """
    planned = {
        (task, method): Run(
            demo_recipe(task, method, seed=seed, epochs=epochs), out / task / method
        )
        for task in TASKS
        for method in METHODS
    }
    for run in planned.values():
        run.check_same()
    for (task, method), run in planned.items():
        said = f"{TASKS[task]}, {method}"
        if run.is_finished:
            console.print(f"{said}: finished before")
            continue
        if not quiet:
            console.print(f"{said}:")
        execute(run, console, quiet=quiet, looked=True)
    lines = tuple(_line(task, run.folder) for (task, _), run in planned.items())
    gains = {task: _gain(out / task) for task in TASKS}
    loaded = {task: load_run(out / task / "arc") for task in TASKS}
    tests = {task: _test_photos(run) for task, run in loaded.items()}
    alone = {task: _logits(loaded[task], tests[task]) for task in TASKS}
    fold_difference = max(
        _fold_difference(loaded[task], tests[task], alone[task]) for task in TASKS
    )
    rows = [(task, _chosen(tests[task])[place]) for place in range(_SHOWN) for task in TASKS]
    mixed = _mixed(loaded, tests, rows, folder=out)
    mixed_difference = max(
        (answer - alone[task][index]).abs().max().item()
        for (task, index), answer in zip(rows, mixed, strict=True)
    )
    page = out / "index.html"
    write_page(
        page,
        "demo.html.j2",
        tasks=TASKS,
        lines=lines,
        gains=gains,
        train_images={line.task: line.result.train_images for line in lines},
        test_images={task: len(bank) for task, bank in tests.items()},
        photos=[
            _photo(out / task, tests[task], index, loaded[task].labels, answer)
            for (task, index), answer in zip(rows, mixed, strict=True)
        ],
        epochs=epochs,
        seed=seed,
        version=lines[0].result.arcvit_version,
        mixed_difference=f"{mixed_difference:.0e}",
        fold_difference=f"{fold_difference:.0e}",
    )
    demo = Demo(
        lines=lines,
        gains=gains,
        mixed_difference=mixed_difference,
        fold_difference=fold_difference,
        page=page,
    )
    _tell(demo, console)
    return demo


def demo_recipe(task: str, method: str, *, seed: int, epochs: int) -> Recipe:
    """What the demo does: the defaults, on all bundled training images of a task."""
    return Recipe(
        data=DataConfig(path=str(resources.files("arcvit") / "assets" / task), fit_on="trainval"),
        backbone="demo",
        method=method,
        engine=EngineConfig(epochs=epochs, track=[], checkpoint_every=5),
        seed=seed,
    ).resolved()


def _tell(demo: Demo, console: Console) -> None:
    table = Table(*_HEADER)
    for line in demo.lines:
        table.add_row(*line.cells)
    console.print(table)
    for task, gain in demo.gains.items():
        console.print(
            f"{task}: ARC has {len(gain.fixed)} test images right that the linear probe hasn't, and"
            f" {len(gain.broken)} the other way round (McNemar's p = {gain.p:.1g})",
            soft_wrap=True,
        )
    console.print(
        f"both tasks in one batch: logits differ by at most {demo.mixed_difference:.0e} from each"
        f" alone; folded into the backbone by at most {demo.fold_difference:.0e}",
        soft_wrap=True,
    )
    console.print(f"open {demo.page}", soft_wrap=True)
    for hint in _NEXT:
        console.print(hint, soft_wrap=True)


def _line(task: str, run: Path) -> Line:
    said = [image.is_right for image in read_predictions(run) if image.split == "test"]
    low, high = wilson(sum(said), len(said))
    return Line(task=task, result=read_result(run), low=float(low), high=float(high))


def _gain(runs: Path) -> Difference:
    (gain,) = compare(runs / "linear", runs / "arc").differences
    return gain


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


def _chosen(images: ImageBank) -> list[int]:
    """Every so many of the test images, so that none is picked."""
    stride = len(images) // _SHOWN
    return [stride // 2 + place * stride for place in range(_SHOWN)]


@torch.inference_mode()
def _mixed(
    loaded: dict[str, LoadedRun],
    tests: dict[str, ImageBank],
    rows: Sequence[tuple[str, int]],
    *,
    folder: Path,
) -> list[Tensor]:
    """The logits of rows of both tasks that go through one backbone together."""
    first, *others = loaded
    model = loaded[first].model
    assert isinstance(model, PeftModel)
    for task in others:
        model.load_adapter(str(folder / task / "arc" / "adapter"), task)
    names = ["default" if task == first else task for task, _ in rows]
    images = [
        ToInput.of(loaded[task].preprocessing).eval()(tests[task].images[index][None])
        for task, index in rows
    ]
    return split_logits(model(torch.cat(images), adapter_names=names), model, names)


def _photo(
    runs: Path, images: ImageBank, index: int, labels: Sequence[str], logits: Tensor
) -> dict[str, object]:
    file = images.paths[index]
    probability, label = logits.softmax(-1).max(-1)
    (linear,) = {
        said.predicted
        for said in read_predictions(runs / "linear")
        if said.split == "test" and file.as_posix().endswith(said.path)
    }
    kind = "png" if file.suffix == ".png" else "jpeg"
    return {
        "image": data_uri(file.read_bytes(), f"image/{kind}"),
        "truth": labels[int(images.labels[index])],
        "arc": labels[int(label)],
        "probability": f"{probability.item():.0%}",
        "linear": linear,
    }
