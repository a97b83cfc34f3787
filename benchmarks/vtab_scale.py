"""All of VTAB-1k at its size: 19 tasks, 1,000 training images each, 387,904 test images.

    python benchmarks/vtab_scale.py --backbone vit_base_patch16_224 --epochs 100 --folder DIR

Weights are random and the images made: JPEG files of the sources' sizes, a few different ones a
split, each under all its names (hard links), so that every file is opened and decoded. Runs
``arcvit bench vtab`` once with ``--search none`` and one seed in a fresh process, and prints where
the time went, in all and of each task:

    decoding     the images of a run, from files to pixels in memory
    start        backbone, adapters, trackers
    training     steps, with the batches they take
    evaluation   of the test split
    other        checkpoints, logs, files
    elsewhere    imports, and decoding every image once more to look for mistakes

``--share 0.001`` takes that share of each test split and says so.
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
"""Different images of a split, unless it has more classes."""
PARTS = ("decoding", "start", "training", "evaluation", "other")
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
    parser.add_argument("--device", default="auto", help="cpu, cuda or mps (auto)")
    parser.add_argument("--compile", help="as --engine.compile of arcvit train (its default)")
    parser.add_argument("--out", type=Path, help="JSON file for what was measured")
    options = parser.parse_args()
    names = [task.name for task in suite_tasks("vtab")]
    options.tasks = options.tasks.split(",") if options.tasks else names
    if unknown := set(options.tasks) - set(names):
        parser.error(f"--tasks names {min(unknown)}: expected some of {', '.join(names)}")
    with tempfile.TemporaryDirectory() as temporary:
        record = _measure(options, options.folder or Path(temporary))
    tests = "all test images" if options.share == 1 else f"{options.share:g} of the test images"
    print(f"{options.backbone}, {options.method}, {options.epochs} epochs, {tests}")
    print(f"  whole command {record['command']:.1f} s, in seconds:")
    print(f"  {'':<24}" + "".join(f"{part:>12}" for part in PARTS))
    for task, parts in record["tasks"].items():
        print(f"  {task:<24}" + "".join(f"{parts[part]:>12.1f}" for part in PARTS))
    print(f"  {'all':<24}" + "".join(f"{s:>12.1f}" for s in record["parts"].values()))
    settings = {k: str(v) for k, v in vars(options).items() if k != "out"}
    write(options.out, {"options": settings, **record})


def _measure(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    tasks = [task for task in suite_tasks("vtab") if task.name in options.tasks]
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
        "engine.device": options.device,
        "data.cache_dir": folder / "cache",
    }
    if options.compile:
        flags["engine.compile"] = options.compile
    command = [sys.executable, "-m", "arcvit.cli.main", "bench", "vtab"]
    start = time.perf_counter()
    subprocess.run([*command, *(f"--{k}={v}" for k, v in flags.items())], check=True)
    seconds = time.perf_counter() - start
    by_task = {
        task.name: _parts(runs / task.name / options.method / "seed-0" / "profile.json")
        for task in tasks
    }
    parts = {part: sum(found[part] for found in by_task.values()) for part in PARTS}
    parts["elsewhere"] = seconds - sum(parts.values())
    return {"command": seconds, "parts": parts, "tasks": by_task}


def _parts(file: Path) -> dict[str, float]:
    profile = json.loads(file.read_text(encoding="utf-8"))
    named = {"evaluation": profile["evaluation"], "decoding": profile["decoding"]}
    named["start"] = profile["startup"] - profile["decoding"]
    named["other"] = profile["other"] + profile["checkpoint"]
    named["training"] = profile["wall"] - named["evaluation"] - named["other"]
    return {part: named[part] for part in PARTS}


def _make(folder: Path, task: BenchmarkTask, share: float) -> None:
    """A task in VTAB-1k's layout, unless it is there."""
    if folder.exists():
        return
    size = (task.source_side, task.source_side) if task.source_side else PHOTO
    counts = {**task.counts, "test": max(task.classes, round(task.test * share))}
    lines: dict[str, list[tuple[Path, int]]] = {split: [] for split in counts}
    draws = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        # No image is in two splits, or under two labels: that would be refused, or warned of.
        distinct = min(counts[split], -(-DISTINCT // task.classes) * task.classes)
        originals = folder / "originals" / split
        originals.mkdir(parents=True)
        for index in range(distinct):
            # Noise of some pixels each, so that a file is about as large as a photo's.
            pixels = draws.integers(0, 256, (size[1] // 4, size[0] // 4, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(
                originals / f"{index}.jpg", quality=90
            )
        for index in range(counts[split]):
            original = originals / f"{index % distinct}.jpg"
            for name in (split, "trainval") if split != "test" else (split,):
                lines[name].append((original, index % distinct % task.classes))
    for split, images in lines.items():
        where = f"images/{Path(LIST_OF_SPLIT[split]).stem}"
        (folder / where).mkdir(parents=True)
        text = ""
        for index, (original, label) in enumerate(images):
            name = f"{where}/{index:06d}.jpg"
            os.link(original, folder / name)
            text += f"{name} {label}\n"
        (folder / LIST_OF_SPLIT[split]).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
