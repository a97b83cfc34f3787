"""Features of the tasks that suspects.py and next.py are measured on, computed once and kept.

    python benchmarks/labelled.py --data ../shared/data --features /tmp/features

writes an .npz a task: of each split the features by the bundled backbone, and the labels.
"""

import argparse
from pathlib import Path

import numpy as np

from arcvit.curate.features import eye_of_backbone
from arcvit.data.config import DataConfig
from arcvit.data.readers.layouts import open_task

TASKS = {
    "grocery": "grocery",
    "HandDrawnShapes": "fgvc/HandDrawnShapes",
    "cifar": "vtab-1k/cifar",
}


def features(task: str, data: Path, kept: Path) -> dict[str, np.ndarray]:
    """``{"train": (N, d), "train labels": (N,), ...}`` of a task, from the disk where they are."""
    file = kept / f"{task}.npz"
    if not file.is_file():
        kept.mkdir(parents=True, exist_ok=True)
        config = DataConfig(path=str(data / TASKS[task]))
        opened = open_task(config.path)
        eye = eye_of_backbone("demo", opened.every().paths, config)
        found: dict[str, np.ndarray] = {}
        for name in ("train", "val", "test"):
            found[name] = eye.look(opened.split(name).paths, config).features
            found[f"{name} labels"] = np.array(opened.split(name).labels)
        np.savez(file, **found)  # type: ignore[arg-type]
    with np.load(file) as held:
        return {name: held[name] for name in held.files}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add where the images are, where features are kept, and which tasks."""
    shared = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    parser.add_argument("--data", type=Path, default=shared)
    parser.add_argument("--features", type=Path, default=Path("runs/features"))
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))


def main() -> None:
    """Compute what isn't there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    options = parser.parse_args()
    for task in options.tasks:
        found = features(task, options.data, options.features)
        print(task, {name: len(rows) for name, rows in found.items() if "labels" not in name})


if __name__ == "__main__":
    main()
