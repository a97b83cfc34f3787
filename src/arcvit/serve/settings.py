"""How the server works, as numbers; ``arcvit serve`` takes them as options."""

from dataclasses import dataclass
from typing import Annotated, Literal

from arcvit.core.settings import Count, NotNegative, Range, check_settings
from arcvit.data.pixels.preset import MAX_PIXELS

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """How the engine and the adapters' places are set.

    Raises:
        UserError: a value is out of range.
    """

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where the model runs; auto takes the best there is."""
    precision: Precision = "fp32"
    """Of the model's products; bf16 and fp16 by autocast, on GPUs."""
    image_size: Annotated[int, Range(at_least=1, at_most=8192)] | None = None
    """Edge of the backbone's input in pixels, where it isn't its own."""
    threads: Count | None = None
    """Threads of the model on a CPU; null: as torch has it."""
    workers: Count | None = None
    """Threads that decode images; null: one a core."""
    max_batch: Count = 32
    """Images in a pass of the model at most."""
    max_wait: NotNegative = 0.002
    """Seconds that a batch waits for more images, from the first on."""
    queue: Count = 1024
    """Images that wait at most, those being decoded included; more are refused."""
    slots: Annotated[int, Range(at_least=1, at_most=4096)] = 64
    """Adapters on the device."""
    memory: Count = 512
    """Adapters in memory."""
    memory_mb: Count = 2048
    """Megabytes of adapters in memory."""
    watch: NotNegative = 2.0
    """Seconds between looks at the folder of adapters; 0: only when told."""
    max_pixels: Annotated[int, Range(at_least=1, at_most=MAX_PIXELS)] = MAX_PIXELS
    """Pixels of an image at most."""

    def __post_init__(self) -> None:
        check_settings("", self)
