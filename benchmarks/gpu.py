"""A GPU in six minutes: is it right there, and what does ARC cost over the frozen backbone?

    python benchmarks/gpu.py --out gpu.json
    python benchmarks/gpu.py --device cpu --quick

Every part has its own time limit and is written to the JSON file as soon as it is there; parts that
the time doesn't reach are named. Exit code 1: a check has failed. ``floor`` is the frozen backbone
with a gradient down to the patch embedding. A step is forward and backward pass and AdamW under
bf16 autocast, without clipping, measured round by round beside the floor's.

    eager      as PyTorch runs it
    capture    the same step as one CUDA graph, frozen weights in bf16
    blocks     blocks compiled, frozen weights in bf16
    graph      blocks compiled, the step captured
"""

import argparse
import json
import platform
import sys
from functools import partial
from pathlib import Path

import gpu_checks
import torch
from competitors import COMPETITORS
from gpu_commands import Commands
from gpu_parts import Parts
from gpu_steps import MODES, Steps

MAIN = ("floor", "arc", "lora_qkv", "lora_qkv_fc1")
"""Competitors that are measured in every mode, and at more than one batch size."""
ALL = (*MAIN, "arc_plus", "arc_att", "bias", "full", "vera", "linear")


def main() -> int:
    """Run the parts in the order of what they tell, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="vit_base_patch16_224")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="sizes that a test runs")
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--competitors", nargs="+", default=[*ALL], choices=COMPETITORS)
    parser.add_argument("--batches", nargs="+", type=int, default=[64, 32, 256])
    parser.add_argument("--modes", nargs="+", default=[*MODES], choices=MODES)
    parser.add_argument("--only", default="", help="parts whose name starts so: check, step: 64")
    parser.add_argument("--first", help="print the seconds of this one's first step, and no more")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    options = parser.parse_args()
    if options.quick:
        options.backbone, options.batches = "quick", [2]
        options.minutes *= 10
        options.competitors = [name for name in options.competitors if name in ("floor", "arc")]
    steps = Steps(options.backbone, options.device)
    if options.first:
        with steps.ready(
            options.first, "blocks", 2 if steps.quick else options.batches[0]
        ) as ready:
            print(json.dumps({"seconds": ready.first}))
        return 0
    parts = Parts(
        {
            "device": torch.cuda.get_device_name() if steps.cuda else platform.processor(),
            "torch": torch.__version__,
            "backbone": options.backbone,
        },
        options.out,
        seconds=60 * options.minutes,
        only=options.only,
        patience=10 if options.quick else 1,
    )
    run_all(parts, steps, Commands(options.backbone, options.device), options)
    print_table(parts)
    checks = [result for name, result in parts.results.items() if name.startswith("check")]
    return 0 if all(result.get("passed") for result in checks) else 1


def run_all(parts: Parts, steps: Steps, commands: Commands, options: argparse.Namespace) -> None:
    """The parts, most wanted first."""

    def measure(name: str, mode: str, batch: int) -> None:
        if name in options.competitors and mode in options.modes:
            run = partial(steps.measured, name, mode, batch)
            parts.run(f"step: {batch} {name} {mode}", 45, run)

    first, *others = options.batches
    parts.run("check: a site", 60, partial(gpu_checks.site, steps))
    parts.run("check: a step", 60, partial(gpu_checks.step, steps, options.modes))
    for mode in ("graph", "eager", "blocks", "capture"):
        for name in MAIN:
            measure(name, mode, first)
    steps.free()
    parts.run("arcvit train: 64", 60, partial(commands.train, 2 if steps.quick else 64))
    for batch in others:
        for name in MAIN[:3]:
            measure(name, "graph", batch)
    parts.run("three VTAB tasks", 110, commands.vtab)
    for cache in () if steps.quick else ("cold", "warm"):  # in small, the floor's is enough
        parts.run(f"first step: arc, {cache} cache", 45, partial(commands.first_step, "arc"))
    for name in ALL[len(MAIN) :]:
        measure(name, "graph", first)
    parts.run("64 tasks in a batch", 45, commands.many_tasks)
    parts.run("inference, folded", 45, commands.folded)
    parts.run("first step: floor, cold cache", 45, partial(commands.first_step, "floor"))
    for batch in others:
        measure("lora_qkv_fc1", "graph", batch)
        for name in MAIN:
            measure(name, "eager", batch)
    for name in ALL[len(MAIN) :]:
        measure(name, "eager", first)


def print_table(parts: Parts) -> None:
    """Milliseconds a step, and over the floor's, of what was measured."""
    print("| batch | mode | competitor | ms | over floor | kernels | images/s | GB |")
    print("|---|---|---|---|---|---|---|---|")
    for name, found in parts.results.items():
        if name.startswith("step: ") and "ms" in found:
            batch, competitor, mode = name.removeprefix("step: ").split(" ")
            print(
                f"| {batch} | {mode} | {competitor} | {found['ms']:.2f} |"
                f" {found['over_floor']:.3f} | {found['kernels']} |"
                f" {found['images_per_second']:.0f} | {found['gb']:.2f} |"
            )


if __name__ == "__main__":
    sys.exit(main())
