"""The competitors of the benchmarks: one backbone, made ready to train in different ways."""

import argparse
import platform
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import interleaved
import torch
import torch.nn.functional as F
from peft import LoraConfig, VeraConfig, get_peft_model
from peft.utils.constants import DUMMY_TARGET_MODULES
from torch import Tensor, nn

from arcvit import ArcConfig
from arcvit.backbones.build import build_backbone
from arcvit.engine.class_token import class_token_alone
from arcvit.engine.compile import compiled_blocks
from arcvit.engine.config import MemoryMode
from arcvit.engine.memory import recomputing
from arcvit.engine.step import Step

CLASSES = 100


def _floor(model: nn.Module) -> nn.Module:
    """Frozen, with a gradient down to the patch embedding: what any adapter in all blocks needs."""
    model.requires_grad_(False)
    model.get_classifier().requires_grad_(True)
    model.patch_embed.register_forward_hook(lambda module, args, output: output.requires_grad_())
    return model


def _lora(targets: object, **options: object) -> Callable[[nn.Module], nn.Module]:
    config = LoraConfig(target_modules=targets, modules_to_save=["head"], **options)
    return lambda model: get_peft_model(model, config)


def arc(variant: str = "arc", *, r: int = 50) -> Callable[[nn.Module], nn.Module]:
    """A backbone made ready to train with ARC."""
    config = ArcConfig(r=r, arc_dropout=0.1, variant=variant, modules_to_save=["head"])
    return lambda model: get_peft_model(model, config)


def _vera(model: nn.Module) -> nn.Module:
    config = VeraConfig(r=256, target_modules=["qkv", "fc1"], modules_to_save=["head"])
    return get_peft_model(model, config)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """How a competitor is made of a plain timm model, and how it is trained.

    Attributes:
        adapt: makes the model ready.
        memory: its memory mode.
        class_token: whether the last MLP sees the class token alone, as in ``arcvit train``.
    """

    adapt: Callable[[nn.Module], nn.Module]
    memory: MemoryMode = "fast"
    class_token: bool = False


_WHOLE = {
    "floor": Entry(adapt=_floor),
    "arc": Entry(adapt=arc()),
    "arc_lean": Entry(adapt=arc(), memory="lean"),
    "arc_min": Entry(adapt=arc(), memory="min"),
    "arc_att": Entry(adapt=arc("arc_att")),
    "arc_plus": Entry(adapt=arc("arc_plus", r=37)),
    "lora_qkv": Entry(adapt=_lora(["qkv"], r=8)),
    "lora_qkv_fc1": Entry(adapt=_lora(["qkv", "fc1"], r=8)),
    "vera": Entry(adapt=_vera),
    "bias": Entry(adapt=_lora(DUMMY_TARGET_MODULES, bias="all")),
    "linear": Entry(adapt=_lora(DUMMY_TARGET_MODULES)),
    "full": Entry(adapt=lambda model: model.requires_grad_(True)),
}
_TRAINED = {
    f"{name}_trained": replace(_WHOLE[name], class_token=True)
    for name in ("floor", "arc", "arc_lean", "arc_min", "lora_qkv_fc1")
}
COMPETITORS = _WHOLE | _TRAINED
"""By name; ``_trained``: as ``arcvit train`` runs it."""


@dataclass(frozen=True, kw_only=True)
class Competitor:
    """A model to train, and what a step of it is."""

    name: str
    model: nn.Module
    changed: ExitStack
    step: Step

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Forward pass and loss."""
        with self.step.autocast():
            logits = self.model(images)
        return F.cross_entropy(logits.float(), labels)


def parse(description: str, *, repeats: int) -> argparse.Namespace:
    """The options that the training benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--backbone", default="vit_base_patch16_224")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--image_size", type=int, help="edge in pixels (the backbone's own)")
    parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"], default="fp32")
    parser.add_argument("--compile", action="store_true", help="compile the repeated blocks")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--competitors", nargs="+", choices=COMPETITORS, default=[*_WHOLE])
    interleaved.add_options(parser, repeats=repeats)
    options = parser.parse_args()
    if "floor" not in options.competitors:
        options.competitors.insert(0, "floor")
    return options


def make(name: str, options: argparse.Namespace) -> Competitor:
    """One competitor, on the device, in training mode and its memory mode."""
    return ready(name, COMPETITORS[name], options)


def ready(name: str, entry: Entry, options: argparse.Namespace) -> Competitor:
    """A new backbone made into a competitor."""
    torch.manual_seed(0)
    model = entry.adapt(_backbone(options)).to(options.device).train()
    changed = ExitStack()  # for as long as the process lives
    if entry.class_token:
        changed.enter_context(class_token_alone(model))
    changed.enter_context(recomputing(model, entry.memory))
    trained = [p for p in model.parameters() if p.requires_grad]
    step = Step(model=model, optimizer=torch.optim.AdamW(trained, lr=1e-4, fused=True))
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(options.precision)
    if dtype is not None:
        step.autocast = partial(torch.autocast, options.device, dtype=dtype)
    if options.compile:
        step.make = changed.enter_context(compiled_blocks(model))(step.make)
    return Competitor(name=name, model=model, changed=changed, step=step)


def _backbone(options: argparse.Namespace) -> nn.Module:
    """With random weights, but for the bundled one."""
    weights = "pretrained" if options.backbone == "demo" else "random"
    size = getattr(options, "image_size", None)
    built = build_backbone(options.backbone, num_classes=CLASSES, weights=weights, image_size=size)
    nn.init.normal_(built.model.get_submodule(built.head).weight, std=0.02)
    return built.model


def batch_for(options: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Made images and labels."""
    size = _backbone(options).patch_embed.img_size
    images = torch.randn(options.batch, 3, *size, device=options.device)
    return images, torch.randint(CLASSES, (options.batch,), device=options.device)


def machine(options: argparse.Namespace) -> str:
    """What is measured, where."""
    device = (
        torch.cuda.get_device_name()
        if options.device == "cuda"
        else f"{_cpu()}, {torch.get_num_threads()} threads"
    )
    compiled = ", compiled" if options.compile else ""
    return (
        f"{options.backbone}, batch {options.batch}, {options.precision}{compiled}; {device};"
        f" torch {torch.__version__}"
    )


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
