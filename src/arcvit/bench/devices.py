"""How fast kinds of devices train, so that a bench can be planned for one that isn't at hand.

One figure is measured: that of the H200, with ``benchmarks/gpu.py``. The others are scaled from it
by what their makers publish, dense bf16 products and memory bandwidth, by the lesser of the two
ratios, as a training step is bound by both. They are estimates. No torch.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from arcvit.core.errors import UserError, nearest

_IMAGES = 4090.0
"""Images a second on an H200: ViT-B/16, ARC, batches of 64, bf16, blocks compiled and the step
captured (``benchmarks/results/gpu-h200.json``, "step: 64 arc graph")."""
VIT_B_STEP = 6.98e10
"""Operations of an image forwards and back there, as the plan counts them."""
_H200 = (989.0, 4.8)

_PUBLISHED = MappingProxyType(
    {
        "b200": (2250.0, 8.0),
        "h200": _H200,
        "h100": (989.0, 3.35),
        "a100": (312.0, 2.04),
        "l40s": (362.0, 0.864),
        "rtx4090": (165.0, 1.008),
        "l4": (121.0, 0.3),
    }
)
"""Dense bf16 TFLOP/s and TB/s of memory, of the SXM module where there are several kinds."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """A kind of device.

    Attributes:
        name: what it is called.
        rate: operations a second that training reaches on it.
        origin: where the rate comes from.
    """

    name: str
    rate: float
    origin: str


def _known(name: str) -> Device:
    share = min(own / other for own, other in zip(_PUBLISHED[name], _H200, strict=True))
    return Device(
        name=name,
        rate=share * _IMAGES * VIT_B_STEP,
        origin="measured" if name == "h200" else f"estimate: {share:.2f} of an h200",
    )


DEVICES: Mapping[str, Device] = MappingProxyType({name: _known(name) for name in _PUBLISHED})


def find_device(name: str) -> Device:
    """A device of the table.

    Raises:
        UserError: it isn't in it.
    """
    if name.lower() not in DEVICES:
        raise UserError(
            f"--device {name!r} isn't known: expected {', '.join(DEVICES)}, or none for the device"
            f" of this machine.{nearest(name.lower(), DEVICES)}"
        )
    return DEVICES[name.lower()]


def recognised(gpu: str) -> Device | None:
    """The device of the table that a driver's name stands for, as ``NVIDIA A100-SXM4-80GB``."""
    words = re.split(r"[\s-]+", gpu.lower())
    return next((d for name, d in DEVICES.items() if name.removeprefix("rtx") in words), None)
