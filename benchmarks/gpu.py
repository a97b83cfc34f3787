"""A GPU in six minutes: is it right there, and what does a step of ARC cost over the floor's?

    python benchmarks/gpu.py --out gpu.json
    python benchmarks/gpu.py --device cpu --quick

Every part has its own time limit and is written to the JSON file as soon as it is there; parts that
the time doesn't reach are named. ``floor`` is the frozen backbone with a gradient down to the patch
embedding. A step is forward and backward pass and AdamW under bf16 autocast, without clipping.

    eager      as PyTorch runs it
    captured   the same step as one CUDA graph, frozen weights in bf16
    blocks     blocks compiled, frozen weights in bf16
    graph      blocks compiled, the step captured
"""

import argparse
import gc
import json
import platform
import signal
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from competitors import CLASSES, COMPETITORS
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from arcvit.arc.functional import Factors
from arcvit.arc.fused import norm_adapter
from arcvit.engine.captured import CapturedStep
from arcvit.engine.compile import compiled_blocks
from arcvit.engine.frozen import FrozenWeights
from arcvit.engine.step import Step

MODES = ("eager", "captured", "blocks", "graph")
ALL = ("floor", "arc", "lora_qkv", "lora_qkv_fc1", "arc_att", "bias", "full", "vera")


class OutOfTimeError(Exception):
    """A part took longer than its limit."""


def main() -> None:
    """Run the parts in the order of what they tell, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="vit_base_patch16_224")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="sizes that a test runs")
    parser.add_argument("--minutes", type=float, default=6.0)
    parser.add_argument("--competitors", nargs="+", default=[*ALL], choices=COMPETITORS)
    parser.add_argument("--batches", nargs="+", type=int, default=[64, 32, 256])
    parser.add_argument("--modes", nargs="+", default=[*MODES], choices=MODES)
    parser.add_argument("--only", default="", help="parts whose name starts so: checks, step")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    options = parser.parse_args()
    if options.quick:
        options.backbone, options.batches, options.competitors = "quick", [2], ["floor", "arc"]
    bench = Bench(options)
    bench.part("checks: a site", 60, site_errors)
    bench.part("checks: a step", 90, step_errors)
    for batch in options.batches:
        for name in options.competitors:
            for mode in options.modes:
                if batch == options.batches[0] or mode in ("eager", "graph"):
                    run = partial(measured_step, name=name, mode=mode, batch=batch)
                    bench.part(f"step: {batch} {name} {mode}", 60, run)
    bench.table()


class Bench:
    """The parts, their time, and the file they go to."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.cuda = options.device == "cuda"
        self.end = time.monotonic() + 60 * options.minutes
        device = torch.cuda.get_device_name() if self.cuda else platform.processor()
        self.record: dict[str, Any] = {
            "device": device,
            "torch": torch.__version__,
            "backbone": options.backbone,
            "parts": {},
        }

    def part(self, name: str, limit: float, run: Callable[["Bench"], Any]) -> None:
        """Run a part within its limit and the time that is left; write what it gave."""
        if not name.startswith(self.options.only):
            return
        left = min(limit, self.end - time.monotonic())
        start = time.monotonic()
        if left < 1:
            result: Any = {"skipped": "no time left"}
        else:
            try:
                with _time_limit(left):
                    result = run(self)
            except Exception as error:
                result = {"failed": f"{type(error).__name__}: {str(error)[:500]}"}
        gc.collect()  # a model refers to itself: its memory would count for the next part
        if self.cuda:
            torch.cuda.empty_cache()
        self.record["parts"][name] = result
        print(f"{time.monotonic() - start:6.1f} s  {name}: {_short(result)}", flush=True)
        self.options.out.write_text(json.dumps(self.record, indent=1) + "\n", encoding="utf-8")

    def model(self, name: str) -> nn.Module:
        """A backbone made into a competitor, in training mode."""
        torch.manual_seed(0)
        if self.options.backbone == "quick":
            sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 3, "num_heads": 2}
            plain = timm.create_model("vit_tiny_patch16_224", num_classes=CLASSES, **sizes)
        else:
            plain = timm.create_model(self.options.backbone, num_classes=CLASSES)
        return COMPETITORS[name].adapt(plain).to(self.options.device).train()

    def batch(self, size: int, model: nn.Module) -> tuple[Tensor, Tensor]:
        """Made images and labels."""
        side = model.patch_embed.img_size
        pixels = torch.randn(size, 3, *side, device=self.options.device)
        return pixels, torch.randint(CLASSES, (size,), device=self.options.device)

    @contextmanager
    def step(self, model: nn.Module, mode: str, batch: int) -> Iterator[Callable[[], Any]]:
        """A training step of a model in one of the modes."""
        device = self.options.device
        rate = torch.tensor(1e-4, device=device) if self.cuda else 1e-4
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=rate, fused=True, capturable=self.cuda)
        autocast = partial(torch.autocast, device, dtype=torch.bfloat16)
        step = Step(model=model, optimizer=optimizer, autocast=autocast)
        pixels, labels = self.batch(batch, model)
        with ExitStack() as changed:
            if mode != "eager":
                changed.enter_context(FrozenWeights(model, torch.bfloat16).cast())
            if mode in ("blocks", "graph"):
                backend = "inductor" if self.cuda else "aot_eager"
                compiled = changed.enter_context(compiled_blocks(model, backend=backend))
                step.make = compiled(step.make)
            run: Any = step
            if mode in ("captured", "graph") and self.cuda:
                run = CapturedStep(step, pixels, labels)
            yield partial(run, pixels, labels)

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.cuda:
            torch.cuda.synchronize()

    def table(self) -> None:
        """Milliseconds a step, and over the floor's, of what was measured."""
        steps = {
            tuple(name.split(": ")[1].split(" ")): result
            for name, result in self.record["parts"].items()
            if name.startswith("step: ") and "ms" in result
        }
        print("| batch | mode | competitor | ms | over floor | kernels | images/s | GB |")
        print("|---|---|---|---|---|---|---|---|")
        for (batch, name, mode), found in steps.items():
            floor = steps.get((batch, "floor", mode), {}).get("ms", float("nan"))
            print(
                f"| {batch} | {mode} | {name} | {found['ms']:.2f} | {found['ms'] / floor:.3f} |"
                f" {found['kernels']} | {int(batch) / found['ms'] * 1e3:.0f} | {found['gb']:.2f} |"
            )


def site_errors(bench: Bench) -> dict[str, float]:
    """Largest deviation of a site from float64, of output and gradients, over their largest."""
    d, r = (64, 10) if bench.options.quick else (768, 50)
    found = {}
    for precision in (torch.float32, torch.bfloat16):
        for compiled in (False, True):
            results = []
            for dtype in (torch.float64, torch.float32):
                torch.manual_seed(0)
                made = partial(torch.randn, dtype=torch.float64)
                x, down, up = made(4, 197, d), made(d, r) / d**0.5, made(r, d) / d**0.5
                given = [x, down, made(r), up, made(d)]
                given = [t.to(bench.options.device, dtype).requires_grad_() for t in given]
                norm = nn.LayerNorm(d).to(bench.options.device, dtype)
                run = norm_adapter
                if compiled:
                    backend = "inductor" if bench.cuda else "aot_eager"
                    run = torch.compile(run, backend=backend, fullgraph=True, dynamic=False)
                with torch.autocast(
                    bench.options.device,
                    dtype=torch.bfloat16,
                    enabled=dtype == torch.float32 and precision == torch.bfloat16,
                ):
                    y = run(given[0], norm, Factors(*given[1:]))
                weights = torch.linspace(-1, 1, y.numel(), device=y.device, dtype=torch.float64)
                loss = (y.double() * weights.view(y.shape)).sum()
                results.append([y.double(), *torch.autograd.grad(loss, given)])
            exact, ours = results
            found[f"{precision} {'compiled' if compiled else 'eager'}"] = max(
                ((a - b).abs().max() / a.abs().max()).item()
                for a, b in zip(exact, ours, strict=True)
            )
    return found


def step_errors(bench: Bench) -> dict[str, Any]:
    """Losses of five steps in each mode, without dropout."""
    losses: dict[str, Any] = {}
    for mode in MODES:
        model = bench.model("arc")
        for module in model.modules():
            for adapter in getattr(module, "dropout", None) or {}:
                module.dropout[adapter] = 0.0
        with bench.step(model, mode, 2 if bench.options.quick else 16) as run:
            losses[mode] = [run()[0].item() for _ in range(5)]
    return losses


def measured_step(bench: Bench, *, name: str, mode: str, batch: int) -> dict[str, Any]:
    """Milliseconds, kernels, memory and the seconds until the first step is done."""
    model = bench.model(name)
    if bench.cuda:
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    with bench.step(model, mode, batch) as run:
        run()
        bench.wait()
        first = time.perf_counter() - start
        for _ in range(3):
            run()
        repeats = 2 if bench.options.quick else 20
        means = []
        for _ in range(3):
            bench.wait()
            start = time.perf_counter()
            for _ in range(repeats):
                run()
            bench.wait()
            means.append((time.perf_counter() - start) / repeats * 1e3)
        gb = torch.cuda.max_memory_allocated() / 1e9 if bench.cuda else 0.0
        kernels = _kernels(run) if bench.cuda else []
    return {
        "ms": min(means),
        "median_ms": statistics.median(means),
        "first_step_seconds": first,
        "gb": gb,
        "kernels": sum(count for _, count, _ in kernels),
        "busy_ms": sum(micros for _, _, micros in kernels) / 1e3,
        "by_kernel": kernels[:80],
    }


def _kernels(run: Callable[[], Any]) -> list[tuple[str, int, float]]:
    """Kernels of one step: name, how often, microseconds in all; the longest first."""
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        run()
        torch.cuda.synchronize()
    counts: Counter[str] = Counter()
    micros: Counter[str] = Counter()
    for event in seen.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            counts[event.name] += 1
            micros[event.name] += event.time_range.elapsed_us()
    return [(name[:160], counts[name], round(time, 1)) for name, time in micros.most_common()]


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise OutOfTimeError(f"more than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _short(result: Any) -> str:
    shown = {k: v for k, v in result.items() if k != "by_kernel"}
    return json.dumps(shown)[:400]


if __name__ == "__main__":
    main()
