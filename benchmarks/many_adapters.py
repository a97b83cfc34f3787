"""Seconds to load each of many adapters onto one backbone: does the last take longer?

    python benchmarks/many_adapters.py --adapters 200

Loads adapters of ARC (or, with --method lora, PEFT's LoRA on qkv), each with a head of its own, and
prints the first, the one in the middle and the last: medians of five neighbours. Files are in the
page cache. Writes JSON with --out.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from interleaved import write
from peft import LoraConfig, PeftModel, get_peft_model

from arcvit import ArcConfig
from arcvit.backbones.build import build_backbone

NEIGHBOURS = 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="demo")
    parser.add_argument("--adapters", type=int, default=200)
    parser.add_argument("--method", choices=("arc", "lora"), default="arc")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    weights = "pretrained" if options.backbone == "demo" else "random"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        backbone = build_backbone(options.backbone, num_classes=10, weights=weights).model
        config = (
            ArcConfig(modules_to_save=["head"])
            if options.method == "arc"
            else LoraConfig(target_modules=["qkv"], modules_to_save=["head"])
        )
        get_peft_model(backbone, config).save_pretrained(folder / "one")
        backbone = build_backbone(options.backbone, num_classes=10, weights=weights).model
        model = PeftModel.from_pretrained(backbone, folder / "one", "task0")
        seconds = []
        for number in range(1, options.adapters + 1):
            own = shutil.copytree(folder / "one", folder / f"task{number}")
            start = time.perf_counter()
            model.load_adapter(own, f"task{number}")
            seconds.append(time.perf_counter() - start)
    size = min(NEIGHBOURS, len(seconds))
    middle = (len(seconds) - size) // 2
    for label, at in (("first", 0), ("middle", middle), ("last", len(seconds) - size)):
        print(f"{label:>6} {size}: {np.median(seconds[at : at + size]):.3f} s")
    settings = {k: str(v) for k, v in vars(options).items() if k != "out"}
    write(options.out, {"options": settings, "seconds": seconds})


if __name__ == "__main__":
    main()
