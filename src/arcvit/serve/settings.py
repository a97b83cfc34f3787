"""How the server works, as numbers; ``arcvit serve`` takes them as options."""

from dataclasses import dataclass
from typing import Annotated, Literal

from arcvit.core.settings import Count, NotNegative, Range, check_settings
from arcvit.data.pixels.preset import MAX_PIXELS

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """How the engine and the adapters' places are set.

    Attributes:
        device: where the model runs; auto takes the best there is.
        precision: of the model's products; bf16 and fp16 by autocast, on GPUs.
        image_size: edge of the backbone's input in pixels, where it isn't its own.
        threads: threads of the model on a CPU; null: as torch has it.
        workers: threads that decode images; null: one a core.
        max_batch: images in a pass of the model at most.
        max_wait: seconds that a batch waits for more images, from the first on.
        queue: images that wait at most, those being decoded included; more are refused.
        slots: adapters on the device.
        memory: adapters in memory.
        memory_mb: megabytes of adapters in memory.
        max_rank: rank of an adapter at most: all images of a batch pay for the largest in it.
        watch: seconds between looks at the folder of adapters; 0: only when told.
        max_pixels: pixels of an image at most.

    Raises:
        UserError: a value is out of range.
    """

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Precision = "fp32"
    image_size: Annotated[int, Range(at_least=1, at_most=8192)] | None = None
    threads: Count | None = None
    workers: Count | None = None
    max_batch: Count = 32
    max_wait: NotNegative = 0.002
    queue: Count = 1024
    slots: Annotated[int, Range(at_least=1, at_most=4096)] = 64
    memory: Count = 512
    memory_mb: Count = 2048
    max_rank: Count = 128
    watch: NotNegative = 2.0
    max_pixels: Annotated[int, Range(at_least=1, at_most=MAX_PIXELS)] = MAX_PIXELS

    def __post_init__(self) -> None:
        check_settings("", self)
