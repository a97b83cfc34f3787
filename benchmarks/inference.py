"""What an adapter costs at inference: the plain backbone against ARC, folded and not, and LoRA.

    python benchmarks/inference.py --backbone vit_base_patch16_224 --batch 8 --repeats 7

The weights of a timm backbone are random; ``demo`` is the bundled backbone. All adapters get random
values, so that they change the outputs. Prints seconds a batch, the ratio of throughputs in each
round (plain is 1), and the largest difference between the outputs of an adapted model before and
after folding. Measured interleaved in one process. Writes JSON with --out.
"""

import argparse
import copy
from collections.abc import Callable

import torch
from interleaved import add_options, measure, ratios, report, write
from peft import LoraConfig, PeftConfig, get_peft_model
from torch import Tensor, nn

from arcvit import ArcConfig
from arcvit.backbones.build import build_backbone

CLASSES = 100


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="vit_base_patch16_224")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--r", type=int, default=50)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add_options(parser, repeats=7)
    options = parser.parse_args()

    torch.manual_seed(0)
    weights = "pretrained" if options.backbone == "demo" else "random"
    built = build_backbone(options.backbone, num_classes=CLASSES, weights=weights)
    nn.init.normal_(built.model.get_submodule(built.head).weight, std=0.02)
    plain = built.model.eval().to(options.device)
    images = torch.randn(options.batch, 3, *built.input_size, device=options.device)

    arc = _adapted(plain, ArcConfig(r=options.r))
    lora = _adapted(plain, LoraConfig(r=8, target_modules=["qkv", "fc1"]))
    models = {
        "plain": plain,
        "arc, folded": copy.deepcopy(arc).merge_and_unload(),
        "arc, not folded": arc,
        "lora, folded": copy.deepcopy(lora).merge_and_unload(),
        "lora, not folded": lora,
    }
    with torch.inference_mode():
        difference = {
            name: _difference(models[f"{name}, not folded"], models[f"{name}, folded"], images)
            for name in ("arc", "lora")
        }
        changed = _difference(plain, arc, images)
        competitors = {name: _runner(model, images, options) for name, model in models.items()}
        times = measure(competitors, options.repeats)
    throughput = {
        name: ratios(times["plain"], seconds) for name, seconds in times.items() if name != "plain"
    }
    print(
        f"{options.backbone}, batch {options.batch}, r={options.r}, {options.precision},"
        f" {options.device}, {torch.get_num_threads()} threads"
    )
    report("seconds a batch", times, " s")
    report("throughput over the plain backbone's", throughput)
    print(f"largest difference of outputs (plain and adapted differ by {changed:.1e}, fp32)")
    for name, value in difference.items():
        print(f"  {name + ', folded and not':<44}{value:.1e}")
    write(
        options.out,
        {
            "options": {k: v for k, v in vars(options).items() if k != "out"},
            "threads": torch.get_num_threads(),
            "seconds": times,
            "throughput": throughput,
            "difference": difference,
        },
    )


def _adapted(plain: nn.Module, config: PeftConfig) -> nn.Module:
    model = get_peft_model(copy.deepcopy(plain), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".arc_" in name or ".lora_" in name:
                nn.init.normal_(parameter, std=0.05)
    return model.eval()


def _runner(model: nn.Module, images: Tensor, options: argparse.Namespace) -> Callable[[], None]:
    device = torch.device(options.device)

    def run() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bf16"):
            model(images)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


def _difference(one: nn.Module, other: nn.Module, images: Tensor) -> float:
    return float((one(images) - other(images)).abs().max().item())


if __name__ == "__main__":
    main()
