"""Training steps of the competitors, each measured round by round beside the floor's."""

import copy
import gc
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import timm
import torch
from competitors import CLASSES, COMPETITORS
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from arcvit.engine.captured import CapturedStep
from arcvit.engine.compile import compiled_blocks
from arcvit.engine.frozen import FrozenWeights
from arcvit.engine.step import Step

MODES = ("eager", "capture", "blocks", "graph")
ROUNDS = 5
ROUND_SECONDS = 0.12


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A competitor's step, taken once.

    Attributes:
        run: takes a step; gives its loss and hits, on the device.
        first: seconds until the first was done, compiling and capturing included.
        gb: most memory it took, weights included, in 10^9 bytes.
    """

    run: Callable[[], tuple[Tensor, Tensor]]
    first: float
    gb: float


class Steps:
    """The competitors on one device.

    Args:
        backbone: timm name, or ``quick``.
        device: cpu or cuda.
    """

    def __init__(self, backbone: str, device: str) -> None:
        self.quick, self.device, self.cuda = backbone == "quick", device, device == "cuda"
        torch.manual_seed(0)
        with torch.device(device):
            if self.quick:
                sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2}
                self._plain = timm.create_model(
                    "vit_tiny_patch16_224", num_classes=CLASSES, num_heads=2, **sizes
                )
            else:
                self._plain = timm.create_model(backbone, num_classes=CLASSES)
        self._floors: dict[tuple[int, str], Ready] = {}
        self._kept = ExitStack()

    def measured(self, name: str, mode: str, batch: int) -> dict[str, Any]:
        """Milliseconds, alone and over the floor's, kernels, memory, seconds of the first step."""
        floor = self._floor(mode, batch)
        with ExitStack() as made:
            ready = floor if name == "floor" else made.enter_context(self.ready(name, mode, batch))
            rounds: dict[str, list[float]] = {"floor": [], name: []}
            for _ in range(2 if self.quick else ROUNDS):
                for of, run in {"floor": floor.run, name: ready.run}.items():
                    rounds[of].append(self._milliseconds(run))
            kernels = _kernels(ready.run) if self.cuda else []
        over = [a / b for a, b in zip(rounds[name], rounds["floor"], strict=True)]
        return {
            "ms": statistics.median(rounds[name]),
            "min_ms": min(rounds[name]),
            "over_floor": statistics.median(over),
            "images_per_second": batch / statistics.median(rounds[name]) * 1e3,
            "first_step_seconds": ready.first,
            "gb": ready.gb,
            "kernels": sum(count for _, count, _ in kernels),
            "busy_ms": sum(micros for _, _, micros in kernels) / 1e3,
            "by_kernel": kernels[:40],
        }

    def free(self) -> None:
        """Let go of the floor's steps, which are kept while others are measured beside them."""
        self._floors.clear()
        self._kept.close()
        self._forget()

    @contextmanager
    def ready(
        self, name: str, mode: str, batch: int, *, dropout: float | None = None
    ) -> Iterator[Ready]:
        """A competitor's step in one of the modes; ``dropout`` replaces that of ARC."""
        self._forget()
        before = torch.cuda.memory_allocated() if self.cuda else 0
        model = COMPETITORS[name].adapt(copy.deepcopy(self._plain)).to(self.device).train()
        if dropout is not None:
            for module in model.modules():
                for adapter in getattr(module, "dropout", None) or {}:
                    module.dropout[adapter] = dropout
        side = self._plain.patch_embed.img_size
        pixels = torch.randn(batch, 3, *side, device=self.device)
        labels = torch.randint(CLASSES, (batch,), device=self.device)
        start = time.perf_counter()
        with ExitStack() as changed:
            run = partial(self._step(model, mode, pixels, labels, changed), pixels, labels)
            run()
            self._wait()
            first = time.perf_counter() - start
            run()
            gb = (torch.cuda.max_memory_allocated() - before) / 1e9 if self.cuda else 0.0
            yield Ready(run=run, first=first, gb=gb)

    def _step(
        self, model: nn.Module, mode: str, pixels: Tensor, labels: Tensor, changed: ExitStack
    ) -> Step | CapturedStep:
        rate = torch.tensor(1e-4, device=self.device) if self.cuda else 1e-4
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=rate, fused=True, capturable=self.cuda)
        autocast = partial(torch.autocast, self.device, dtype=torch.bfloat16)
        step = Step(model=model, optimizer=optimizer, autocast=autocast)
        if mode != "eager":
            changed.enter_context(FrozenWeights(model, torch.bfloat16).cast())
        if mode in ("blocks", "graph"):
            backend = "inductor" if self.cuda else "aot_eager"
            step.make = changed.enter_context(compiled_blocks(model, backend=backend))(step.make)
        captured = mode in ("capture", "graph") and self.cuda
        return CapturedStep(step, pixels, labels) if captured else step

    def _floor(self, mode: str, batch: int) -> Ready:
        """The floor's step, kept until another batch size is measured."""
        if (batch, mode) not in self._floors:
            if any(size != batch for size, _ in self._floors):
                self.free()
            made = self._kept.enter_context(self.ready("floor", mode, batch))
            self._floors[batch, mode] = made
        return self._floors[batch, mode]

    def _milliseconds(self, run: Callable[[], Any]) -> float:
        """A step's, the mean of as many as fit into a round."""
        self._wait()
        start = time.perf_counter()
        taken = 0
        while taken < (1 if self.quick else 3) or (
            not self.quick and taken < 20 and time.perf_counter() - start < ROUND_SECONDS
        ):
            run()
            taken += 1
        self._wait()
        return (time.perf_counter() - start) / taken * 1e3

    def _wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

    def _forget(self) -> None:
        """Free what earlier competitors left: their memory would count for the next one."""
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def _kernels(run: Callable[[], Any]) -> list[tuple[str, int, float]]:
    """Kernels of one step: name, how often, microseconds in all; the longest first."""
    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as seen:
        run()
        torch.cuda.synchronize()
    counts: Counter[str] = Counter()
    micros: Counter[str] = Counter()
    for event in seen.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            counts[event.name] += 1
            micros[event.name] += event.time_range.elapsed_us()
    return [(name[:160], counts[name], round(time, 1)) for name, time in micros.most_common()]
