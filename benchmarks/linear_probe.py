"""A linear probe of 100 epochs on 1,000 images, against one forward pass over them.

    python benchmarks/linear_probe.py --images 1000 --epochs 100 --repeats 3

Made JPEG photos, no augmentation: the features are computed once and the head learns from them.
Pass and run are measured in turns. *Learning* is what result.json counts (features and epochs),
*command* is the whole ``arcvit train`` in a fresh process, imports and decoding included. The
limit is 1.3 x the pass plus 5 s. Prints medians with their spread; writes JSON with --out.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from interleaved import add_options, report, write
from PIL import Image

from arcvit.backbones.build import build_backbone
from arcvit.core.allocator import keep_freed_memory
from arcvit.engine.config import EngineConfig
from arcvit.engine.device import evaluation_batch, make_accelerator

CLASSES = 20
FACTOR, ALLOWANCE = 1.3, 5.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="demo")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--device", choices=("cpu", "cuda"), default=None)
    add_options(parser, repeats=3)
    options = parser.parse_args()
    keep_freed_memory()
    options.device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")

    weights = "pretrained" if options.backbone == "demo" else "random"
    built = build_backbone(options.backbone, num_classes=CLASSES, weights=weights)
    model = built.model.eval().to(options.device)
    accelerator = make_accelerator(EngineConfig(device=options.device), 0)
    images = torch.randn(options.images, 3, *built.input_size)
    size = evaluation_batch(accelerator.device)

    @torch.inference_mode()
    def one_pass() -> float:
        start = time.perf_counter()
        for batch in images.split(size):
            with accelerator.autocast():
                model(batch.to(accelerator.device))
        if accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    times: dict[str, list[float]] = {"one forward pass": [], "learning": [], "command": []}
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        _photos(photos, options.images)
        one_pass()
        for _ in range(options.repeats):
            times["one forward pass"].append(one_pass())
            learning, command = _probe(options, weights, photos, Path(folder) / "run")
            times["learning"].append(learning)
            times["command"].append(command)
    limits = [FACTOR * seconds + ALLOWANCE for seconds in times["one forward pass"]]
    shares = {
        f"{name} / limit": [a / b for a, b in zip(times[name], limits, strict=True)]
        for name in ("learning", "command")
    }
    print(
        f"{options.backbone}, {options.images} images, {options.epochs} epochs,"
        f" {accelerator.device} in {accelerator.mixed_precision},"
        f" {torch.get_num_threads()} threads"
    )
    report("seconds", times, " s")
    report("share of the limit", shares)
    settings = {k: v for k, v in vars(options).items() if k != "out"}
    write(options.out, {"options": settings, "seconds": times, "shares": shares})


def _photos(folder: Path, count: int) -> None:
    """Class folders of noise, all of them for training."""
    draws = np.random.default_rng(0)
    for index in range(count):
        target = folder / "train" / f"class{index % CLASSES:02d}" / f"{index:05d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        pixels = draws.integers(0, 256, (96, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((320, 240)).save(target, quality=90)


def _probe(
    options: argparse.Namespace, weights: str, photos: Path, run: Path
) -> tuple[float, float]:
    """Seconds of learning and of the whole command."""
    shutil.rmtree(run, ignore_errors=True)
    flags = {
        "data.path": photos,
        "data.val_fraction": 0,
        "data.augment": "none",
        "backbone": options.backbone,
        "weights": weights,
        "method": "linear",
        "engine.epochs": options.epochs,
        "engine.device": options.device,
        "out": run,
    }
    command = [sys.executable, "-m", "arcvit.cli.main", "train", "--quiet"]
    start = time.perf_counter()
    subprocess.run(
        command + [f"--{key}={value}" for key, value in flags.items()],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    seconds = time.perf_counter() - start
    record = json.loads((run / "result.json").read_text(encoding="utf-8"))
    return float(record["seconds"]["train"]), seconds


if __name__ == "__main__":
    main()
