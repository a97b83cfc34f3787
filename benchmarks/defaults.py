"""Try settings of a method on the validation splits of several tasks, to choose its defaults.

    python benchmarks/defaults.py --tasks A B C --method arc --set optim.lr=2e-3,5e-3,1e-2 \
        --fixed engine.epochs=20 --seeds 0 1 --out runs/trials

Every combination of the values is trained on the training split of each task and measured on its
validation split after the last epoch; test splits are not read. Finished runs are not run again.
docs/defaults.md records what came out and what was chosen.
"""

import argparse
import itertools
import json
import statistics
from pathlib import Path

from rich.console import Console
from rich.table import Table

from arcvit.core.result import is_finished
from arcvit.recipe.execute import execute
from arcvit.recipe.parser import parse_recipe
from arcvit.recipe.run import Run


def main() -> None:
    """Run the grid and print mean validation accuracy by setting and task."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", required=True, help="folders of images")
    parser.add_argument("--method", default="arc")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=A,B", help="values to try")
    parser.add_argument("--fixed", nargs="*", default=[], metavar="KEY=V", help="other settings")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--out", type=Path, default=Path("runs/trials"))
    options = parser.parse_args()

    keys = [item.partition("=")[0] for item in options.set]
    values = [item.partition("=")[2].split(",") for item in options.set]
    console = Console(width=160)
    table = Table("method", *keys, *(Path(task).name for task in options.tasks), "mean")
    for setting in itertools.product(*values):
        means = []
        for task in options.tasks:
            accuracies = [
                _val_accuracy(options, task, dict(zip(keys, setting, strict=True)), seed)
                for seed in options.seeds
            ]
            means.append(statistics.mean(accuracies))
        cells = [f"{100 * mean:.1f}" for mean in [*means, statistics.mean(means)]]
        table.add_row(options.method, *setting, *cells)
        console.print(options.method, *setting, *cells)
    console.print(table)


def _val_accuracy(
    options: argparse.Namespace, task: str, setting: dict[str, str], seed: int
) -> float:
    flags = [f"--{key}={value}" for key, value in setting.items()]
    flags += [f"--{item}" for item in options.fixed]
    parts = [Path(task).name, options.method, *sorted(f[2:] for f in flags), f"seed{seed}"]
    run = options.out / "_".join(parts).replace("/", "-")
    if not is_finished(run):
        given = [f"--data.path={task}", f"--method={options.method}", f"--seed={seed}"]
        # Without a checkpoint nothing of an unfinished run is worth keeping.
        given += ["--engine.checkpoint_every=0", "--engine.track=[]", "--engine.validate_every=0"]
        recipe = parse_recipe(given + flags)
        execute(Run(recipe, run), Console(), quiet=True)
    record = json.loads((run / "result.json").read_text(encoding="utf-8"))
    return float(record["val_accuracy"])


if __name__ == "__main__":
    main()
