"""Memory over time of a run on more images than it may hold in memory.

    python benchmarks/many_images.py --images 200000 --folder DIR --out FILE

Makes images of 64 pixels in 100 class folders, each one different, and runs ``arcvit train`` in a
fresh process: once on ``--baseline`` of them, which shows what Python, torch and the model
take, and once on all. Every second it notes the process's memory as Linux counts it:

    anonymous    what the process needs for itself; this is what ``--data.memory_gb`` is about
    mapped       files, decoded images among them, which the system drops when others need memory

What is printed are the largest anonymous memory of both runs, their difference, and how it moved
while the model learned. ``--processes 2`` runs on as many processes with torchrun and adds theirs
up; decoded images they share count once.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CLASSES = 100
SIDE = 64
MB = 1e6


def main() -> None:
    """Make the images, run twice, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--baseline", type=int, default=1_000, help="images of the first run")
    parser.add_argument("--memory_gb", type=float, default=0.001)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--method", default="arc")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where images and runs go (default: removed)")
    parser.add_argument("--out", type=Path, help="JSON file for what was measured")
    options, flags = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        runs = []
        for count in (options.baseline, options.images):
            images = folder / f"images-{count}"
            start = time.perf_counter()
            if not images.is_dir():
                make(images, count)
                print(f"{count:,} images made in {time.perf_counter() - start:.0f} s", flush=True)
            runs.append(watched(images, folder, options, flags))
            print(line(count, runs[-1]), flush=True)
    above = largest(runs[1]) - largest(runs[0])
    print(f"anonymous memory above that of {options.baseline:,} images: {above:.0f} MB")
    if options.out is not None:
        record = {"settings": {k: str(v) for k, v in vars(options).items()}, "runs": runs}
        options.out.write_text(json.dumps(record) + "\n")


def make(folder: Path, count: int) -> None:
    """Class folders of images: a colour of the class under a pattern of the image's own."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with ProcessPoolExecutor() as pool:
        list(pool.map(_make_class, [(partial, label, count) for label in range(CLASSES)]))
    partial.rename(folder)


def _make_class(task: tuple[Path, int, int]) -> None:
    folder, label, count = task
    place = folder / f"{label:03d}"
    place.mkdir(parents=True)
    colour = np.random.default_rng(label).integers(64, 192, 3)
    random = np.random.default_rng((1, label))
    for index in range(label, count, CLASSES):
        pattern = (colour + random.integers(-64, 64, (8, 8, 3))).astype(np.uint8)
        image = Image.fromarray(pattern).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        image.save(place / f"{index:06d}.jpg", quality=90)


def watched(
    images: Path, folder: Path, options: argparse.Namespace, flags: list[str]
) -> dict[str, Any]:
    """A run, with its memory by the second and what it said when."""
    cache, out = folder / "cache", folder / f"run-{images.name}"
    for left in (cache, out):
        shutil.rmtree(left, ignore_errors=True)
    start = [sys.executable, "-m", "arcvit.cli.main"]
    if options.processes > 1:
        start = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        start += [f"--nproc_per_node={options.processes}", "-m", "arcvit.cli.main"]
    command = [
        *start,
        "train",
        f"--data.path={images}",
        f"--out={out}",
        f"--method={options.method}",
    ]
    command += ["--backbone=test_vit", "--weights=random", f"--image_size={SIDE}"]
    command += [f"--data.memory_gb={options.memory_gb}", f"--data.cache_dir={cache}"]
    command += [f"--engine.epochs={options.epochs}", "--engine.device=cpu", *flags]
    began = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ}
    )
    said: list[tuple[float, str]] = []

    def listen() -> None:
        assert process.stdout is not None
        for text in process.stdout:
            said.append((time.perf_counter() - began, text.rstrip()))

    listener = threading.Thread(target=listen)
    listener.start()
    samples = []
    while process.poll() is None:
        anonymous, mapped = memory(process.pid)
        samples.append((round(time.perf_counter() - began, 1), anonymous, mapped))
        time.sleep(1 if len(samples) > 30 else 0.1)
    listener.join()
    if process.returncode:
        raise SystemExit("\n".join(text for _, text in said[-20:]))
    return {"seconds": time.perf_counter() - began, "samples": samples, "said": said}


def memory(process: int) -> tuple[float, float]:
    """Anonymous and mapped memory in MB, of a process and those it started."""
    anonymous = mapped = 0.0
    for one in (process, *_children(process)):
        try:
            lines = Path(f"/proc/{one}/status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        kilobytes = {
            name: int(rest.split()[0])
            for name, _, rest in (text.partition(":") for text in lines)
            if name in ("RssAnon", "RssFile", "RssShmem")
        }
        anonymous += kilobytes.get("RssAnon", 0) * 1024 / MB
        shared = kilobytes.get("RssFile", 0) + kilobytes.get("RssShmem", 0)
        mapped = max(mapped, shared * 1024 / MB)
    return round(anonymous, 1), round(mapped, 1)


def _children(process: int) -> list[int]:
    try:
        listed = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [found for child in map(int, listed) for found in (child, *_children(child))]


def largest(run: dict[str, Any]) -> float:
    """The most anonymous memory, in MB."""
    return max(anonymous for _, anonymous, _ in run["samples"])


def line(count: int, run: dict[str, Any]) -> str:
    """A run in a line."""
    epochs = [when for when, text in run["said"] if "epoch " in text]
    learning = [a for when, a, _ in run["samples"] if epochs and when > epochs[0]] or [0.0]
    third = max(1, len(learning) // 3)
    early, late = statistics.median(learning[:third]), statistics.median(learning[-third:])
    mapped = max(mapped for _, _, mapped in run["samples"])
    return (
        f"{count:,} images: {run['seconds']:.0f} s, anonymous memory at most {largest(run):.0f} MB,"
        f" from the first epoch on {early:.0f} to {late:.0f} MB; mapped at most {mapped:.0f} MB"
    )


if __name__ == "__main__":
    main()
