"""Why one ARC is better than another: rates by group, ranks, and what the folded update looks like.

    python benchmarks/why_arc.py --tasks A B C --seeds 0 1 --out runs/why
    python benchmarks/why_arc.py --tasks A --quick          # minutes on two CPU cores

Every run trains on a task's training split and is measured on its validation split after the last
epoch; test splits are not read. Finished runs are not run again. A row of the grids says what it
sets, the rest is as it is by default; ``ruined`` counts runs that are 5 points or more below the
best seed of their setting. The second table is of the first task and seed: of W' - W at every layer
that an adapter is folded into, its size against W's (Frobenius norms), and its effective rank,
(sum s^2)^2 / sum s^4 of the singular values s.
"""

import argparse
import json
import re
import statistics
from collections import defaultdict
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from arcvit.export.folded import merged_model
from arcvit.recipe.execute import execute
from arcvit.recipe.load import load_run
from arcvit.recipe.parser import parse_recipe
from arcvit.recipe.run import Run

GRIDS = {
    "rate": ["arc:optim.lr=2e-3", "arc", "arc:optim.lr=1e-2", "arc:optim.lr=2e-2"],
    "rate of D": ["arc:optim.projection_lr=0.3", "arc", "arc:optim.projection_lr=3"],
    "rate of c": [f"arc:optim.coefficients_lr={m}" for m in (1, 3, 10, 30)],
    "rate of b": ["arc:optim.bias_lr=0.3", "arc", "arc:optim.bias_lr=3"],
    "start": ["arc", "arc:coefficients_init=zeros", "arc:projection_init=activations"],
    "rank": ["arc:r=10", "arc", "arc:r=150"],
    "sites": ["arc", "arc:r=39:sites=both", "arc:sites=after"],
    "core": ["arc", "arc:r=39:core=full:train_projection=false:projection_init=activations"],
    "all of it": ["arc_plus", "arc_plus:optim.lr=5e-3", "lora:r=2"],
}
QUICK = {"rate of c": GRIDS["rate of c"][::2], "all of it": ["arc_plus", "lora:r=2"]}
SPECTRA = ("arc", "arc_plus", "lora:r=2")


def main() -> None:
    """Run the grids, print the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", required=True, help="folders of images")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="two grids, 3 epochs")
    parser.add_argument("--out", type=Path, default=Path("runs/why"))
    options = parser.parse_args()
    epochs = 3 if options.quick else options.epochs
    if len({Path(task).name for task in options.tasks}) < len(options.tasks):
        parser.error("--tasks: expected folders of different names, by which runs are told apart")

    def trained(method: str, task: str, seed: int) -> Run:
        flags = [f"--data.path={task}", f"--method={method}", f"--engine.epochs={epochs}"]
        recipe = parse_recipe([*flags, f"--seed={seed}", "--data.augment=none"])
        slug = re.sub(r"[^\w.=-]", "-", f"{method}-e{epochs}-s{seed}")
        run = Run(recipe, options.out / Path(task).name / slug, read_test=False)
        if not run.is_finished:
            run.folder.parent.mkdir(parents=True, exist_ok=True)
            execute(run, Console(), quiet=True)
        return run

    found: dict[str, dict[str, list[list[float]]]] = {}
    console = Console(width=120)
    for title, methods in (QUICK if options.quick else GRIDS).items():
        table = Table(title, *(Path(task).name for task in options.tasks), "mean", "ruined")
        for method in methods:
            accuracy = [
                [_accuracy(trained(method, task, seed)) for seed in options.seeds]
                for task in options.tasks
            ]
            found.setdefault(title, {})[method] = accuracy
            means = [statistics.fmean(of_task) for of_task in accuracy]
            ruined = sum(max(of_task) - a >= 5 for of_task in accuracy for a in of_task)
            cells = [f"{mean:.1f}" for mean in (*means, statistics.fmean(means))]
            table.add_row(method, *cells, str(ruined))
        console.print(table)
    spectra = {m: _updates(trained(m, options.tasks[0], options.seeds[0])) for m in SPECTRA}
    _print_spectra(console, spectra)
    record = {"epochs": epochs, "tasks": options.tasks, "grids": found, "updates": spectra}
    (options.out / "why.json").write_text(json.dumps(record, indent=1) + "\n")


def _accuracy(run: Run) -> float:
    accuracy = json.loads((run.folder / "result.json").read_text())["val_accuracy"]
    return 100 * float(accuracy)


@torch.no_grad()
def _updates(run: Run) -> dict[str, tuple[float, float]]:
    """Relative size and effective rank of what was folded in, by layer; q, k and v apart."""
    found = {}
    plain = load_run(run.folder).model.unload()
    before = {n: p.clone() for n, p in plain.named_parameters() if p.ndim == 2 and "head" not in n}
    folded = dict(merged_model(load_run(run.folder).model).named_parameters())
    for name, weight in before.items():
        if torch.equal(weight, folded[name]):
            continue
        parts = {"": (weight, folded[name])}
        if name.endswith("qkv.weight"):
            parts = {
                f".{part}": pair
                for part, *pair in zip("qkv", weight.chunk(3), folded[name].chunk(3), strict=True)
            }
        for part, (old, new) in parts.items():
            found[name.removesuffix(".weight") + part] = _size_and_rank(old, new - old)
    return found


def _size_and_rank(weight: Tensor, update: Tensor) -> tuple[float, float]:
    squares = torch.linalg.svdvals(update.double()).square()
    rank = squares.sum().square() / squares.square().sum()
    return float(update.norm() / weight.norm()), float(rank)


def _print_spectra(console: Console, spectra: dict[str, dict[str, tuple[float, float]]]) -> None:
    """Means over blocks for each kind of layer, and over kinds for each block."""
    for title, key in (("layer", r"^.*blocks\.\d+\."), ("block", r"\.(attn|mlp)\..*$")):
        table = Table(title, *(f"{m}: {what}" for m in spectra for what in ("size", "rank")))
        groups: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(dict)
        for method, layers in spectra.items():
            for name, pair in layers.items():
                groups[re.sub(key, "", name)].setdefault(method, []).append(pair)
        for group, by_method in sorted(groups.items()):
            cells = []
            for method in spectra:
                pairs = by_method.get(method)
                cells += (
                    ["", ""]
                    if pairs is None
                    else [
                        f"{statistics.fmean(p[0] for p in pairs):.3f}",
                        f"{statistics.fmean(p[1] for p in pairs):.1f}",
                    ]
                )
            table.add_row(group, *cells)
        console.print(table)


if __name__ == "__main__":
    main()
