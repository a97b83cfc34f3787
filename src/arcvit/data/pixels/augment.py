"""From stored pixels to the backbone's input, on the device: crop, flip, normalise.

Shapes: B images, C channels, (H', W') stored pixels, (H, W) input pixels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from arcvit.data.pixels.preset import Preprocessing, center_start


def random_crop(
    images: Tensor, size: tuple[int, int], generator: torch.Generator | None = None
) -> Tensor:
    """Crop each image at a place of its own, all places equally likely.

    Args:
        images: (B, C, H', W').
        size: H and W, at most H' and W'.
        generator: draws the places; None takes torch's own on the CPU.

    Returns:
        (B, C, H, W).
    """
    batch, channels, height, width = images.shape
    device = images.device
    top = _draw(height - size[0] + 1, batch, device, generator)
    left = _draw(width - size[1] + 1, batch, device, generator)
    rows = top[:, None] + torch.arange(size[0], device=device)
    columns = left[:, None] + torch.arange(size[1], device=device)
    which = torch.arange(batch, device=device)
    channel = torch.arange(channels, device=device)
    return images[
        which[:, None, None, None],
        channel[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]


def random_flip(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Mirror each image (B, C, H, W) left to right with probability one half."""
    mirrored = _draw(2, len(images), images.device, generator).bool()
    return torch.where(mirrored[:, None, None, None], images.flip(-1), images)


def center_crop(images: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle (B, C, H, W) of images (B, C, H', W')."""
    top, left = center_start(images.shape[-2], size[0]), center_start(images.shape[-1], size[1])
    return images[..., top : top + size[0], left : left + size[1]]


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Scale ``uint8`` to [0, 1], subtract the mean and divide by the standard deviation.

    Args:
        images: ``uint8`` (B, C, H, W).
        mean: (C, 1, 1).
        std: (C, 1, 1).

    Returns:
        ``float32`` (B, C, H, W).
    """
    return images.float().div(255).sub(mean).div(std)


class ToInput(nn.Module):
    """Stored pixels to the backbone's input. In training mode it augments, otherwise not.

    Args:
        size: H and W in pixels.
        mean: of each channel, for values in [0, 1].
        std: of each channel, for values in [0, 1].
        random_crop: crop at random when training.
        flip: mirror at random when training.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        size: tuple[int, int],
        mean: Sequence[float],
        std: Sequence[float],
        *,
        random_crop: bool = False,
        flip: bool = False,
    ) -> None:
        super().__init__()
        self.size = size
        self.random_crop = random_crop
        self.flip = flip
        # Not persistent: the values are recorded in the preprocessing, not in a checkpoint.
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    @classmethod
    def of(cls, prep: Preprocessing) -> "ToInput":
        """The module for images stored with this preprocessing."""
        return cls(prep.size, prep.mean, prep.std, random_crop=prep.random_crop, flip=prep.flip)

    def forward(self, images: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Turn a batch into the input.

        Args:
            images: ``uint8`` (B, C, H', W').
            generator: draws crops and flips; None takes torch's own on the CPU. With one on the
                CPU the draws are the same on every device.

        Returns:
            ``float32`` (B, C, H, W).

        Raises:
            TypeError: the images are not ``uint8``.
            ValueError: the images are smaller than the input.
        """
        if images.dtype != torch.uint8:
            raise TypeError(f"expected uint8 images, got {images.dtype}")
        stored = (images.shape[-2], images.shape[-1])
        if stored[0] < self.size[0] or stored[1] < self.size[1]:
            raise ValueError(f"images of {stored} pixels are smaller than the input {self.size}")
        if self.training and self.random_crop:
            images = random_crop(images, self.size, generator)
        else:
            images = center_crop(images, self.size)
        if self.training and self.flip:
            images = random_flip(images, generator)
        return normalize(images, self.mean, self.std)


def _draw(
    below: int, count: int, device: torch.device, generator: torch.Generator | None
) -> Tensor:
    """``count`` whole numbers in [0, below), drawn where the generator lives."""
    source = torch.device("cpu") if generator is None else generator.device
    drawn = torch.randint(below, (count,), generator=generator, device=source)
    if source.type == "cpu" and device.type == "cuda":
        # From memory that isn't pinned the host would wait for all that the device has to do.
        return drawn.pin_memory().to(device, non_blocking=True)
    return drawn.to(device)
