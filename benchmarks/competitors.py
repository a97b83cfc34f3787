"""The competitors of the benchmarks: one backbone, made ready to train in different ways."""

import argparse
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import interleaved
import timm
import torch
import torch.nn.functional as F
from peft import LoraConfig, VeraConfig, get_peft_model
from peft.utils.constants import DUMMY_TARGET_MODULES
from torch import Tensor, nn

from arcvit import ArcConfig
from arcvit.engine.config import MemoryMode
from arcvit.engine.memory import recomputing

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
    config = ArcConfig(r=r, dropout=0.1, variant=variant, modules_to_save=["head"])
    return lambda model: get_peft_model(model, config)


def _vera(model: nn.Module) -> nn.Module:
    config = VeraConfig(r=256, target_modules=["qkv", "fc1"], modules_to_save=["head"])
    return get_peft_model(model, config)


COMPETITORS: dict[str, tuple[Callable[[nn.Module], nn.Module], MemoryMode]] = {
    "floor": (_floor, "fast"),
    "arc": (arc(), "fast"),
    "arc_lean": (arc(), "lean"),
    "arc_min": (arc(), "min"),
    "arc_att": (arc("arc_att"), "fast"),
    "lora_qkv": (_lora(["qkv"], r=8), "fast"),
    "lora_qkv_fc1": (_lora(["qkv", "fc1"], r=8), "fast"),
    "vera": (_vera, "fast"),
    "bias": (_lora(DUMMY_TARGET_MODULES, bias="all"), "fast"),
    "linear": (_lora(DUMMY_TARGET_MODULES), "fast"),
    "full": (lambda model: model.requires_grad_(True), "fast"),
}
"""How each is made of a plain timm model, and its memory mode."""


@dataclass(frozen=True, kw_only=True)
class Competitor:
    """A model to train, and what a step of it is."""

    name: str
    model: nn.Module
    run: nn.Module
    memory: AbstractContextManager[None]
    autocast: Callable[[], AbstractContextManager[object]]
    optimizer: torch.optim.Optimizer

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Forward pass and loss."""
        with self.autocast():
            logits = self.run(images)
        return F.cross_entropy(logits.float(), labels)

    def step(self, images: Tensor, labels: Tensor) -> None:
        """Forward, backward, optimizer."""
        self.loss(images, labels).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def parse(description: str, *, repeats: int) -> argparse.Namespace:
    """The options that the training benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--backbone", default="vit_base_patch16_224")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"], default="fp32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--competitors", nargs="+", choices=COMPETITORS, default=[*COMPETITORS])
    interleaved.add_options(parser, repeats=repeats)
    options = parser.parse_args()
    if "floor" not in options.competitors:
        options.competitors.insert(0, "floor")
    return options


def make(name: str, options: argparse.Namespace) -> Competitor:
    """One competitor, on the device, in training mode and its memory mode."""
    return ready(name, *COMPETITORS[name], options)


def ready(
    name: str,
    adapt: Callable[[nn.Module], nn.Module],
    mode: MemoryMode,
    options: argparse.Namespace,
) -> Competitor:
    """A new backbone adapted by a function, in a memory mode."""
    torch.manual_seed(0)
    backbone = timm.create_model(options.backbone, num_classes=CLASSES)
    model = adapt(backbone).to(options.device).train()
    memory = recomputing(model, mode)
    memory.__enter__()  # for as long as the process lives
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(options.precision)
    return Competitor(
        name=name,
        model=model,
        run=torch.compile(model) if options.compile else model,
        memory=memory,
        autocast=nullcontext
        if dtype is None
        else (lambda: torch.autocast(options.device, dtype=dtype)),
        optimizer=torch.optim.AdamW(
            [p for p in model.parameters() if p.requires_grad], lr=1e-4, fused=True
        ),
    )


def batch_for(options: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """Made images and labels."""
    size = timm.get_pretrained_cfg(options.backbone).input_size
    images = torch.randn(options.batch, *size, device=options.device)
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
