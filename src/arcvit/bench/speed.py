"""How fast this machine trains: large matrix products, measured once and kept.

Measured anew each time, a busy machine or another choice of precision would give the same plan
another figure. What was measured lies in ``~/.cache/arcvit/speed.json``.
"""

import contextlib
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import torch

from arcvit.bench.devices import Device, recognised
from arcvit.bench.work import precision_for
from arcvit.core.errors import UserError
from arcvit.core.files import read_json, write_json
from arcvit.engine.device import choose_device
from arcvit.recipe.recipe import Recipe

SPEED_FILE = Path(".cache/arcvit/speed.json")
EFFICIENCY = {"cpu": 0.7}
"""Share of the speed of large matrix products that training reaches: 0.8 for ViT-B/16 on two cores
in fp32, less for small models."""
OTHER_EFFICIENCY = 0.4
"""That of other devices, a guess."""
_SECONDS = 1.0
_ROUNDS = 5
Value = TypeVar("Value", str, float)


def this_machine(recipe: Recipe) -> Device:
    """The device that runs of a recipe would take here, and its speed.

    A GPU of the table has the table's speed; others and CPUs are measured the first time, in the
    precision that such runs would have.
    """
    kind = choose_device(recipe.engine.device)
    name = _name(kind)
    known = recognised(name) if kind == "cuda" else None
    if known is not None:
        return known
    kept = _Kept(f"{name}, torch {torch.__version__}")
    precision: str = recipe.engine.precision
    if precision == "auto":
        asked = f"{recipe.backbone}, batch {recipe.engine.batch_size}, {recipe.image_size} pixels"
        precision = kept.value(f"precision of {asked}", str, lambda: precision_for(recipe))
    speed = kept.value(
        f"operations a second in {precision}", float, lambda: _products(kind, precision)
    )
    share = EFFICIENCY.get(kind, OTHER_EFFICIENCY)
    return Device(
        name=f"this {'GPU' if kind == 'cuda' else kind.upper()}",
        rate=speed * share,
        origin=f"{share:.0%} of {speed / 1e9:,.0f} GFLOP/s in {precision}",
    )


class _Kept:
    """What was measured once of a device.

    Args:
        device: what it is called in the file.
    """

    def __init__(self, device: str) -> None:
        self._file = Path.home() / SPEED_FILE
        self._device = device

    def value(self, name: str, kind: type[Value], measure: Callable[[], Value]) -> Value:
        """What is kept under a name; where there is none of that kind, it is measured."""
        record = self._read()
        of_device = record.get(self._device)
        if not isinstance(of_device, dict):
            of_device = record[self._device] = {}
        if not isinstance(of_device.get(name), kind):
            of_device[name] = measure()
            with contextlib.suppress(OSError):  # not kept, it is measured again
                write_json(self._file, record)
        return cast(Value, of_device[name])

    def _read(self) -> dict[str, Any]:
        """All that is kept; nothing where it is damaged."""
        try:
            return read_json(self._file)
        except (OSError, UserError):
            return {}


def _name(kind: str) -> str:
    """What tells devices of different speeds apart."""
    if kind == "cuda":
        return torch.cuda.get_device_name()
    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next(line for line in lines if line.startswith("model name")).split(": ")[1]
    return f"{processor}, {torch.get_num_threads()} threads"


def _products(kind: str, precision: str) -> float:
    """Operations a second in large matrix products, the best of a second's tries."""
    side = 4096 if kind == "cuda" else 1024
    dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16}
    a = torch.randn(side, side, device=kind).to(dtypes.get(precision, torch.float32))
    best, rounds, begun = float("inf"), 0, time.perf_counter()
    while rounds < _ROUNDS or time.perf_counter() - begun < _SECONDS:
        start = time.perf_counter()
        float((a @ a)[0, 0])
        best, rounds = min(best, time.perf_counter() - start), rounds + 1
    return 2 * side**3 / best
