"""Fold ARC into every kind of transformer in timm, in float64, and list what comes out.

    python benchmarks/fold_sweep.py                     # all kinds, some minutes
    python benchmarks/fold_sweep.py --families twins    # one module of timm

A kind is a module of timm and the classes of its blocks and attentions. Its smallest model stands
for it, with random weights, of three blocks if it can be, at an input size that its windows don't
divide where it takes one. A line says what became of it: adapted (at the norms), moved (to the
input of what consumes them), in part (the warning says where not) or refused, and the largest error
of folding, relative to the effect of the adapters.
"""

import argparse
import importlib
import inspect
import itertools
import re
import warnings
from collections.abc import Iterator

import timm
import torch
from accelerate import init_empty_weights
from peft import get_peft_model
from torch import nn

from arcvit import ArcConfig
from arcvit.arc.layer import ArcLayer

CLASSES = 7


def kinds(families: list[str]) -> Iterator[tuple[str, str]]:
    """The module and the smallest model of each kind."""
    for module in families or timm.list_modules():
        code = inspect.getsource(importlib.import_module(f"timm.models.{module}"))
        if not re.search(r"Attention|MHSA|vision_transformer import", code):
            continue
        smallest: dict[tuple[str, ...], tuple[int, str]] = {}
        for name in _unlike(timm.list_models(module=module)):
            try:
                with init_empty_weights():
                    model = timm.create_model(name)
            except RuntimeError:  # some need values while they are built, as Swin-V2 does
                model = timm.create_model(name)
            blocks = attention_blocks(model)
            if blocks:
                size = sum(p.numel() for p in model.parameters())
                smallest[blocks] = min(smallest.get(blocks, (size, name)), (size, name))
        yield from ((module, name) for _, name in smallest.values())


def _unlike(names: list[str]) -> list[str]:
    """Names that differ by more than the sizes of image, patch and network."""
    sizes = r"_?(\d+|patch\d+|window\d+|nano|tiny|small|medium|little|base|[smlbtn]|x+s|x+l)(?=_|$)"
    small = [name for name in names if not re.search(r"large|huge|gigan|giant|so\d+m|_\d+b", name)]
    return list({re.sub(sizes, "", name): name for name in reversed(small or names)}.values())


def attention_blocks(model: nn.Module) -> tuple[str, ...]:
    """Classes of the modules that hold an attention and a norm, and of their attentions."""
    found = set()
    for module in model.modules():
        children = {name: type(child).__name__ for name, child in module.named_children()}
        attention = [c for name, c in children.items() if "att" in f"{name} {c}".lower()]
        if attention and any("Norm" in c and "Batch" not in c for c in children.values()):
            found.add(f"{type(module).__name__} of {attention[0]}")
    return tuple(sorted(found))


def build(name: str) -> tuple[nn.Module, int]:
    """A model and the size of its input, one that few windows divide where it can be had."""
    native = timm.get_pretrained_cfg(name).input_size[-1]
    for depth, more in itertools.product(({"depth": 3}, {}), (16, 32, 0)):
        size = native + more
        try:
            torch.manual_seed(0)
            sized = {"img_size": size} if more else {}
            model = timm.create_model(name, num_classes=CLASSES, **depth, **sized).double().eval()
            with torch.no_grad():
                model(torch.zeros(1, 3, size, size, dtype=torch.double))
            return model, size
        except Exception:  # whatever a model raises on a depth or size that isn't its own
            continue
    raise ValueError(f"{name} doesn't run at {native} pixels")


@torch.no_grad()
def outcome(name: str) -> str:
    """What becomes of a model, in a line."""
    plain, size = build(name)
    for parameter in plain.parameters():  # no scale is tiny, and no bias zero, behind which to hide
        parameter.add_(0.05 * torch.randn_like(parameter))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            model = get_peft_model(plain, ArcConfig(r=4, init_weights=False)).double().eval()
        except ValueError as refusal:
            return f"refused   {str(refusal).partition(':')[0]}"
    sites = [module for module in model.modules() if isinstance(module, ArcLayer)]
    for site in sites:
        for parameters in (site.arc_coefficients, site.arc_bias):
            for parameter in parameters.values():
                parameter.mul_(0.2)
    x = torch.randn(1, 3, size, size, dtype=torch.double)
    adapted = model(x)
    with model.disable_adapter():
        effect = (adapted - model(x)).abs().max()
    try:
        error = (adapted - model.merge_and_unload()(x)).abs().max() / effect
        folding = f"error {error:.1e}"
    except ValueError as refusal:
        folding = f"not folded: {refusal}"
    moved = sum(site.placement == "input" for site in sites)
    kind = f"moved {moved}/{len(sites)}" if moved else "adapted"
    gaps = "; ".join(
        str(w.message).partition(":")[0] for w in told if "blocks have" in str(w.message)
    )
    return f"{kind:12} {folding} at {size} px" + (f"  in part: {gaps}" if gaps else "")


def main() -> None:
    """Sweep and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--families", nargs="*", default=[], help="modules of timm; default: all")
    for module, name in kinds(parser.parse_args().families):
        try:
            line = outcome(name)
        except Exception as error:  # one kind that fails must not end the sweep
            line = f"FAILED    {type(error).__name__}: {str(error)[:120]}"
        print(f"{module:28} {name:36} {line}", flush=True)


if __name__ == "__main__":
    main()
