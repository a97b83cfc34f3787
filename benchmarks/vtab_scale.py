"""All of VTAB-1k at its size: 19 tasks, 1,000 training images each, 387,904 test images.

    python benchmarks/vtab_scale.py --backbone vit_base_patch16_224 --epochs 100 --folder DIR

Weights are random and the images made: JPEG files of the sources' sizes, a few different ones a
task, each under all its names (hard links), so that every file is opened and decoded. Runs ``arcvit
bench vtab`` once with ``--search none`` and one seed in a fresh process, and prints where the time
of the 19 runs went. ``--share 0.001`` takes that share of each test split and says so.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from interleaved import write
from PIL import Image

from arcvit.data.catalogue import BenchmarkTask, suite_tasks
from arcvit.data.readers.vtab import LIST_OF_SPLIT

DISTINCT = 64
PHOTO = (500, 375)
"""Width and height of the photos of sources whose images have no one size."""


def main() -> None:
    """Make what is missing, run, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="vit_base_patch16_224")
    parser.add_argument("--method", default="arc")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--share", type=float, default=1.0, help="of each test split (1.0)")
    parser.add_argument("--tasks", help="some of the tasks, with commas between (default: all)")
    parser.add_argument("--folder", type=Path, help="where images and runs go (default: removed)")
    parser.add_argument("--out", type=Path, help="JSON file for what was measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        record = _measure(options, options.folder or Path(temporary))
    tests = "all test images" if options.share == 1 else f"{options.share:g} of the test images"
    print(f"{options.backbone}, {options.method}, {options.epochs} epochs, {tests}")
    print(f"  whole command {record['command']:.1f} s, of which in the runs:")
    for part, seconds in record["parts"].items():
        print(f"  {part:<12}{seconds:10.1f} s {seconds / record['command']:8.1%}")
    settings = {k: str(v) for k, v in vars(options).items() if k != "out"}
    write(options.out, {"options": settings, **record})


def _measure(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    chosen = options.tasks.split(",") if options.tasks else None
    tasks = [t for t in suite_tasks("vtab") if chosen is None or t.name in chosen]
    for task in tasks:
        _make(folder / "data" / task.name, task, options.share)
    runs = folder / "runs"
    flags = {
        "data.root": folder / "data",
        "tasks": ",".join(task.name for task in tasks),
        "methods": options.method,
        "seeds": "0",
        "search": "none",
        "out": runs,
        "backbone": options.backbone,
        "weights": "random",
        "engine.epochs": options.epochs,
        "engine.profile": "true",
        "data.cache_dir": folder / "cache",
    }
    command = [sys.executable, "-m", "arcvit.cli.main", "bench", "vtab"]
    start = time.perf_counter()
    subprocess.run([*command, *(f"--{k}={v}" for k, v in flags.items())], check=True)
    seconds = time.perf_counter() - start
    parts: dict[str, float] = {}
    for file in sorted(runs.glob(f"*/{options.method}/seed-0/profile.json")):
        profile = json.loads(file.read_text(encoding="utf-8"))
        for part, value in profile.items():
            if part not in ("wall", "learning"):
                parts[part] = parts.get(part, 0.0) + value
    return {"command": seconds, "parts": parts}


def _make(folder: Path, task: BenchmarkTask, share: float) -> None:
    """A task in VTAB-1k's layout, unless it is there."""
    if folder.exists():
        return
    draws = np.random.default_rng(0)
    size = (task.source_side, task.source_side) if task.source_side else PHOTO
    originals = folder / "originals"
    originals.mkdir(parents=True)
    for index in range(DISTINCT):
        # Noise of some pixels each, so that a file is about as large as a photo's.
        pixels = draws.integers(0, 256, (size[1] // 4, size[0] // 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(
            originals / f"{index}.jpg", quality=90
        )
    counts = {**task.counts, "test": max(task.classes, round(task.test * share))}
    for split, count in counts.items():
        images = f"images/{Path(LIST_OF_SPLIT[split]).stem}"
        (folder / images).mkdir(parents=True)
        lines = []
        for index in range(count):
            name = f"{images}/{index:06d}.jpg"
            os.link(originals / f"{index % DISTINCT}.jpg", folder / name)
            lines.append(f"{name} {index % task.classes}\n")
        (folder / LIST_OF_SPLIT[split]).write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
