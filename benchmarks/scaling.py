"""How cost grows with batch, r, size of the backbone, adapters loaded, and tasks in a batch.

    python benchmarks/scaling.py --sweeps batch r backbone loaded tasks --repeats 5

Training (batch, r, backbone): a step over the frozen backbone's, the bytes it keeps over its, and
the limit: the share of arithmetic that ARC adds, six products of 2 M d r a site beside what the
backbone does. Inference (loaded, tasks): a forward pass over the plain backbone's. The points of a
training sweep are measured one after the other, the competitors of a point interleaved. Writes JSON
with --out.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import timm
import torch
from competitors import Competitor, Entry, arc, batch_for, machine, make, ready
from interleaved import add_options, measure, ratios, spread, write
from memory import kept_for_backward
from peft import get_peft_model
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from arcvit import ArcConfig

BATCHES = (1, 2, 4, 8, 16, 32)
RANKS = (1, 8, 16, 32, 50, 64, 128)
BACKBONES = tuple(f"vit_{size}_patch16_224" for size in ("tiny", "small", "base", "large"))
LOADED = (1, 16, 64, 256)
TASKS = (1, 2, 8, 32, 64)
ROWS = 64


@dataclass(frozen=True, kw_only=True)
class Point:
    """One setting of a training sweep."""

    label: str
    backbone: str
    batch: int
    r: int = 50


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sweeps: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
        "batch": lambda options: _training(
            options,
            [Point(label=str(n), backbone=options.backbone, batch=n) for n in BATCHES],
        ),
        "r": lambda options: _training(
            options,
            [
                Point(label=str(r), backbone=options.backbone, batch=options.batch, r=r)
                for r in RANKS
            ],
        ),
        "backbone": lambda options: _training(
            options,
            [Point(label=name, backbone=name, batch=options.batch) for name in BACKBONES],
        ),
        "loaded": _loaded,
        "tasks": _tasks,
    }
    parser.add_argument("--sweeps", nargs="+", choices=sweeps, default=[*sweeps])
    parser.add_argument("--backbone", default="vit_small_patch16_224")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"], default="fp32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.set_defaults(compile=False)
    add_options(parser, repeats=5)
    options = parser.parse_args()
    print(machine(options))
    results = {}
    for name in options.sweeps:
        print(f"\n{name}")
        results[name] = sweeps[name](options)
    write(options.out, {"setting": machine(options), "sweeps": results})


def _training(options: argparse.Namespace, points: list[Point]) -> dict[str, Any]:
    print(f"{'':<24}{'time over the floor':<28}{'limit':>8}{'bytes over the floor':>24}")
    found = {}
    for point in points:
        chosen = argparse.Namespace(
            **{**vars(options), "backbone": point.backbone, "batch": point.batch}
        )
        images, labels = batch_for(chosen)
        floor = make("floor", chosen)
        adapted = ready("arc", Entry(adapt=arc(r=point.r)), chosen)
        times = measure(
            {each.name: _step(each, images, labels) for each in (floor, adapted)}, options.repeats
        )
        over = ratios(times["arc"], times["floor"])
        limit = _arithmetic(floor, adapted, images, labels)
        kept = [_kept(each, images, labels) for each in (adapted, floor)]
        print(
            f"{point.label:<24}{spread(over):<28}{limit:>8.3f}{kept[0] / kept[1]:>24.4f}",
            flush=True,
        )
        found[point.label] = {"seconds": times, "ratios": over, "limit": limit, "kept": kept}
    return found


def _step(competitor: Competitor, images: Tensor, labels: Tensor) -> Callable[[], None]:
    def step() -> None:
        competitor.step(images, labels)
        _wait(images)

    return step


def _wait(on: Tensor) -> None:
    if on.device.type == "cuda":
        torch.cuda.synchronize()


def _kept(competitor: Competitor, images: Tensor, labels: Tensor) -> int:
    with kept_for_backward(competitor.model) as storages:
        loss = competitor.loss(images, labels)
    loss.backward()
    competitor.optimizer.zero_grad()
    return sum(storages.values())


def _arithmetic(floor: Competitor, adapted: Competitor, images: Tensor, labels: Tensor) -> float:
    """Arithmetic of a step with ARC over that without."""
    with FlopCounterMode(display=False) as counter:
        floor.step(images, labels)
    base = counter.get_total_flops()
    rows = len(images) * floor.model.pos_embed.shape[1]
    sizes = [p.numel() for n, p in adapted.model.named_parameters() if ".arc_projection." in n]
    sites = sum(".arc_coefficients." in name for name, _ in adapted.model.named_parameters())
    products = 6 * 2 * rows * (sum(sizes) / len(sizes)) * sites
    return (base + products) / base


def _adapted(options: argparse.Namespace, count: int, **config: Any) -> nn.Module:
    torch.manual_seed(0)
    backbone = timm.create_model(options.backbone, num_classes=10)
    model = get_peft_model(backbone, ArcConfig(r=50), adapter_name="task-0")
    for index in range(1, count):
        model.add_adapter(f"task-{index}", ArcConfig(r=50, **config))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".arc_" in name:
                nn.init.normal_(parameter, std=0.05)
    return model.eval().to(options.device)


def _forward_over_plain(
    options: argparse.Namespace, runs: dict[str, Callable[[Tensor], object]]
) -> dict[str, Any]:
    plain = timm.create_model(options.backbone, num_classes=10).eval().to(options.device)
    images = torch.randn(ROWS, *plain.default_cfg["input_size"], device=options.device)

    def timed(run: Callable[[Tensor], object]) -> Callable[[], None]:
        def once() -> None:
            run(images)
            _wait(images)

        return once

    with torch.inference_mode():
        times = measure(
            {"plain": timed(plain), **{label: timed(run) for label, run in runs.items()}},
            options.repeats,
        )
    over = {label: ratios(times[label], times["plain"]) for label in runs}
    for label, values in over.items():
        print(f"{label:<40}{spread(values)}")
    return {"seconds": times, "ratios": over}


def _loaded(options: argparse.Namespace) -> dict[str, Any]:
    models = {count: _adapted(options, count) for count in LOADED}
    for count, model in models.items():
        size = sum(p.numel() for n, p in model.named_parameters() if ".arc_" in n)
        print(f"{f'{count} loaded':<40}{size * 4 / 1e6:>8.1f} MB of adapters")
    runs: dict[str, Callable[[Tensor], object]] = {
        f"{count} loaded, one active": model for count, model in models.items()
    }
    return _forward_over_plain(options, runs)


def _tasks(options: argparse.Namespace) -> dict[str, Any]:
    own = _adapted(options, max(TASKS))
    shared = _adapted(options, max(TASKS), projection="task-0")
    runs: dict[str, Callable[[Tensor], object]] = {}
    for kind, model in (("own projections", own), ("one projection", shared)):
        for count in TASKS:
            names = [f"task-{row % count}" for row in range(ROWS)]
            runs[f"{count} tasks in {ROWS} rows, {kind}"] = lambda x, m=model, n=names: m(
                x, adapter_names=n
            )
    return _forward_over_plain(options, runs)


if __name__ == "__main__":
    main()
