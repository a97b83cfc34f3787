"""Many tasks in one batch: 64 rows of 64 adapters against 64 rows of one, and against PEFT's LoRA.

    python benchmarks/mixed_batch.py --backbone vit_tiny_patch16_224 --rows 64 --repeats 7

Measured interleaved in one process, round by round: the plain backbone, ARC with one adapter for
all rows, ARC with one a row (heads of three sizes), and LoRA (r=8 on qkv and fc1) with one a row.
Prints medians with their spread, the ratios of each round, and checks that every row equals the run
of its own adapter alone. Writes JSON with --out.
"""

import argparse
import platform
import statistics
from collections.abc import Callable

import timm
import torch
from interleaved import add_options, measure, ratios, report, write
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

from arcvit import ArcConfig

HEADS = (10, 37, 102)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="vit_tiny_patch16_224")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--r", type=int, default=50)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add_options(parser, repeats=7)
    options = parser.parse_args()

    torch.manual_seed(0)
    plain = timm.create_model(options.backbone, num_classes=HEADS[0]).eval().to(options.device)
    names = [f"task-{i}" for i in range(options.rows)]
    arc = _with_tasks(options, names, _arc_config(options.r))
    lora = _with_tasks(options, names, _lora_config)
    images = torch.randn(options.rows, 3, *plain.patch_embed.img_size, device=options.device)

    competitors: dict[str, Callable[[], Tensor]] = {
        "backbone": lambda: plain(images),
        "arc, 1 adapter": lambda: arc(images, adapter_names=[names[0]] * options.rows),
        f"arc, {options.rows} adapters": lambda: arc(images, adapter_names=names),
        f"lora, {options.rows} adapters": lambda: lora(images, adapter_names=names),
    }
    with torch.inference_mode():
        worst = _check_rows(arc, images, names)
        times = measure(
            {name: _finished(run, options.device) for name, run in competitors.items()},
            options.repeats,
        )
    base, one, many, low_rank = times.values()
    compared = {
        "many adapters / one adapter": ratios(many, one),
        "extra time of ARC / extra time of LoRA": [
            (a - p) / (b - p) for a, b, p in zip(many, low_rank, base, strict=True)
        ],
        "ARC / backbone": ratios(many, base),
        "LoRA / backbone": ratios(low_rank, base),
    }
    print(f"{options.backbone}, {options.rows} rows, r={options.r}, {options.device}, ", end="")
    print(f"{torch.get_num_threads()} threads, {platform.processor() or platform.machine()}")
    report("seconds a batch", times)
    report("round by round", compared)
    medians = [statistics.median(values) for values in (base, many, low_rank)]
    extra = (medians[1] - medians[0]) / (medians[2] - medians[0])
    print(f"  {'extra time of ARC / LoRA, of the medians':<44}{extra:8.3f}")
    print(f"  {'largest difference to rows run alone':<44}{worst:8.1e}")
    write(options.out, {"seconds": times, "ratios": compared, "difference": worst})


def _finished(run: Callable[[], Tensor], device: str) -> Callable[[], None]:
    def finished() -> None:
        run()
        if device == "cuda":
            torch.cuda.synchronize()

    return finished


def _arc_config(r: int) -> Callable[[int], ArcConfig]:
    return lambda i: ArcConfig(
        r=r,
        modules_to_save=["head"],
        num_classes=HEADS[i % len(HEADS)],
    )


def _lora_config(index: int) -> LoraConfig:
    del index  # PEFT stacks the rows' logits: its heads must be of one size
    return LoraConfig(r=8, target_modules=["qkv", "fc1"], modules_to_save=["head"])


def _with_tasks(
    options: argparse.Namespace, names: list[str], config: Callable[[int], object]
) -> PeftModel:
    torch.manual_seed(0)
    backbone = timm.create_model(options.backbone, num_classes=HEADS[0])
    model = get_peft_model(backbone, config(0), adapter_name=names[0])
    for index, name in enumerate(names[1:], start=1):
        model.add_adapter(name, config(index))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".arc_" in name or ".lora_" in name or "modules_to_save" in name:
                nn.init.normal_(parameter, std=0.05)
    return model.eval().to(options.device)


def _check_rows(model: PeftModel, images: Tensor, names: list[str]) -> float:
    """Largest difference between a row of the mixed batch and its adapter run alone."""
    mixed = model(images, adapter_names=names)
    worst = 0.0
    for row, name in enumerate(names):
        model.set_adapter(name)
        expected = model(images[row : row + 1])[0]
        worst = max(worst, (mixed[row, : len(expected)] - expected).abs().max().item())
    return worst


if __name__ == "__main__":
    main()
