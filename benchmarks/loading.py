"""Seconds to load and switch adapters, and to get the images of a run decoded or from the cache.

    python benchmarks/loading.py --backbone vit_base_patch16_224 --images 256 --repeats 5

Adapters: load one onto a backbone in memory, ARC (r=50) against PEFT's LoRA (r=8 on qkv and fc1);
switch between two that are loaded; fold one and take it back. Images: decode and resize JPEGs of
500 x 375 pixels with one thread and with all, against mapping the cache. Measured interleaved in
one process; files are in the page cache. Writes JSON with --out.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from interleaved import add_options, measure, report, write
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from PIL import Image

from arcvit import ArcConfig
from arcvit.backbones.build import build_backbone
from arcvit.data.pixels.bank import ImageBank
from arcvit.data.pixels.preset import resolve_preset
from arcvit.data.task import Split


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="vit_base_patch16_224")
    parser.add_argument("--images", type=int, default=256)
    add_options(parser, repeats=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        adapters, sizes = _adapters(options, Path(name))
        images = _images(options, Path(name))
    print(f"{options.backbone}, {torch.get_num_threads()} threads")
    report("adapters, seconds", adapters, " s")
    for method, size in sizes.items():
        print(f"  {method} adapter file: {size / 1000:,.0f} KB")
    report(f"{options.images} images to 224 x 224, seconds", images, " s")
    settings = {k: v for k, v in vars(options).items() if k != "out"}
    write(
        options.out,
        {"options": settings, "adapters": adapters, "bytes": sizes, "images": images},
    )


def _adapters(
    options: argparse.Namespace, folder: Path
) -> tuple[dict[str, list[float]], dict[str, int]]:
    weights = "pretrained" if options.backbone == "demo" else "random"
    backbone = build_backbone(options.backbone, num_classes=10, weights=weights).model
    configs: dict[str, Callable[[], PeftConfig]] = {
        "arc": lambda: ArcConfig(r=50),
        "lora": lambda: LoraConfig(r=8, target_modules=["qkv", "fc1"]),
    }
    competitors: dict[str, Callable[[], object]] = {}
    sizes = {}
    for method, config in configs.items():
        model = get_peft_model(backbone, config())
        model.save_pretrained(folder / method)
        model.unload()
        sizes[method] = (folder / method / "adapter_model.safetensors").stat().st_size
        competitors[f"load {method} onto the backbone and off"] = _load(backbone, folder / method)
    switching = PeftModel.from_pretrained(
        build_backbone(options.backbone, num_classes=10, weights=weights).model, folder / "arc"
    )
    switching.load_adapter(folder / "arc", "other")
    competitors["switch between two arc adapters, and back"] = lambda: (
        switching.set_adapter("other"),
        switching.set_adapter("default"),
    )
    competitors["fold arc, and unfold"] = lambda: (
        switching.merge_adapter(),
        switching.unmerge_adapter(),
    )
    return measure(competitors, options.repeats), sizes


def _load(backbone: torch.nn.Module, folder: Path) -> Callable[[], object]:
    return lambda: PeftModel.from_pretrained(backbone, folder).unload()


def _images(options: argparse.Namespace, folder: Path) -> dict[str, list[float]]:
    draws = np.random.default_rng(0)
    paths = []
    for index in range(options.images):
        # Noise at a fifth of the size, as smooth as photos about.
        pixels = draws.integers(0, 256, (75, 100, 3), dtype=np.uint8)
        paths.append(folder / f"{index:04d}.jpg")
        Image.fromarray(pixels).resize((500, 375)).save(paths[-1], quality=90)
    split = Split(paths=tuple(paths), labels=(0,) * len(paths))
    prep = resolve_preset("vtab", input_size=(224, 224), data_config={})

    def decode(workers: int | None) -> Callable[[], object]:
        return lambda: ImageBank.build(split, prep, workers=workers)

    def cached() -> object:
        bank = ImageBank.build(split, prep, memory_limit=0, cache_dir=folder / "cache")
        # Mapped, and so read only when it is looked at.
        return bank.images.clone()

    competitors = {
        "decode and resize, 1 thread": decode(1),
        "decode and resize, a thread a core": decode(None),
        "from the cache on disk, read once": cached,
    }
    return measure(competitors, options.repeats)


if __name__ == "__main__":
    main()
