"""Augmentation of whole batches as tensor operations, on the device that trains.

Per-image augmentation would take longer than the small ViT's own step on two CPU cores. Shapes:
B photos, C = 3 channels, H = W pixels, K classes. Photos are RGB in [0, 1].
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Enhancement = Callable[[Tensor, Tensor], Tensor]


def uniform(count: int, low: float, high: float, device: torch.device) -> Tensor:
    """`count` numbers drawn evenly from [low, high)."""
    return torch.empty(count, device=device).uniform_(low, high)


def random_affine(photos: Tensor, scale: float, warp: Tensor) -> Tensor:
    """Random resized crop, horizontal flip and, where `warp` is set, a rotation and a shear.

    All in one bilinear resampling. The crop's area is drawn from [scale, 1] and its aspect ratio
    log-evenly from [3/4, 4/3] (Szegedy et al., 2015, as in torchvision's RandomResizedCrop);
    rotations reach 20 degrees and shears 0.2.

    Args:
        photos: (B, 3, H, W).
        scale: smallest share of the photo's area that a crop may keep.
        warp: (B,) bool, the photos to rotate and shear as well.
    """
    batch, device = len(photos), photos.device
    area = uniform(batch, scale, 1, device)
    ratio = uniform(batch, math.log(3 / 4), math.log(4 / 3), device).exp()
    width = (area * ratio).sqrt().clamp(max=1)
    height = (area / ratio).sqrt().clamp(max=1)
    flip = torch.where(torch.rand(batch, device=device) < 0.5, -1.0, 1.0)
    angle = uniform(batch, -math.pi / 9, math.pi / 9, device) * warp
    shear = uniform(batch, -0.2, 0.2, device) * warp
    cos, sin = angle.cos(), angle.sin()
    theta = torch.empty(batch, 2, 3, device=device)
    theta[:, 0, 0] = width * flip * cos
    theta[:, 0, 1] = width * (shear * cos - sin)
    theta[:, 1, 0] = height * flip * sin
    theta[:, 1, 1] = height * (shear * sin + cos)
    theta[:, 0, 2] = (1 - width) * uniform(batch, -1, 1, device)
    theta[:, 1, 2] = (1 - height) * uniform(batch, -1, 1, device)
    grid = F.affine_grid(theta, list(photos.shape), align_corners=False)
    return F.grid_sample(photos, grid, padding_mode="reflection", align_corners=False)


def gray(photos: Tensor) -> Tensor:
    """Luma (ITU-R 601), (B, 1, H, W)."""
    return (photos * photos.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)


def blend(photos: Tensor, base: Tensor, strength: Tensor) -> Tensor:
    """`photos` moved away from (strength > 0) or towards (strength < 0) `base`."""
    return (base + (1 + strength) * (photos - base)).clamp(0, 1)


def blur(photos: Tensor) -> Tensor:
    """3 x 3 binomial blur of each channel."""
    line = photos.new_tensor([0.25, 0.5, 0.25])
    kernel = (line[:, None] * line).expand(photos.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(photos, (1, 1, 1, 1), "reflect"), kernel, groups=photos.shape[1])


# Each takes photos (B, 3, H, W) and strengths (B, 1, 1, 1) in [-1, 1).
ENHANCEMENTS: tuple[Enhancement, ...] = (
    lambda photos, s: blend(photos, torch.zeros_like(photos), 0.8 * s),  # brightness
    lambda photos, s: blend(photos, gray(photos).mean((2, 3), keepdim=True), 0.8 * s),  # contrast
    lambda photos, s: blend(photos, gray(photos), s),  # colour
    lambda photos, s: blend(photos, blur(photos), s),  # sharpness
    lambda photos, s: gray(photos).expand_as(photos),
    lambda photos, s: torch.where(photos < 0.55 + 0.45 * s, photos, 1 - photos),  # solarize
)


def trivial_augment(photos: Tensor, scale: float, share: float) -> Tensor:
    """Crop and flip; to a share of the photos, also one random operation of random strength.

    As in TrivialAugment (Müller & Hutter, ICCV 2021), with fewer operations: `ENHANCEMENTS`, and
    a rotation with a shear that is joined with the crop.
    """
    draw = torch.randint(len(ENHANCEMENTS) + 1, (len(photos),), device=photos.device)
    draw[torch.rand(len(photos), device=photos.device) >= share] = -1
    photos = random_affine(photos, scale, warp=draw == len(ENHANCEMENTS))
    strength = uniform(len(photos), -1, 1, photos.device).view(-1, 1, 1, 1)
    for index, enhance in enumerate(ENHANCEMENTS):
        chosen = (draw == index).nonzero().squeeze(1)
        photos[chosen] = enhance(photos[chosen], strength[chosen])
    return photos


def random_erase(photos: Tensor, probability: float) -> Tensor:
    """A box of up to 25 % of the area of some photos replaced by noise (Zhong et al., 2020)."""
    batch, _, height, width = photos.shape
    chosen = torch.rand(batch, device=photos.device) < probability
    inside = random_boxes(batch, height, width, uniform(batch, 0.02, 0.25, photos.device))
    noise = torch.rand_like(photos)
    return torch.where((inside & chosen.view(-1, 1, 1)).unsqueeze(1), noise, photos)


def random_boxes(count: int, height: int, width: int, area: Tensor) -> Tensor:
    """Square boxes of `area` (count,) with centres anywhere: masks (count, height, width)."""
    half = area.sqrt() / 2
    rows = (torch.arange(height, device=area.device) + 0.5) / height
    columns = (torch.arange(width, device=area.device) + 0.5) / width
    top, left = (torch.rand(count, 1, device=area.device) for _ in range(2))
    inside_rows = (rows - top).abs() <= half[:, None]
    inside_columns = (columns - left).abs() <= half[:, None]
    return inside_rows[:, :, None] & inside_columns[:, None, :]


def mix(photos: Tensor, targets: Tensor, mixup: float, cutmix: float) -> tuple[Tensor, Tensor]:
    """Mixup (Zhang et al., 2018) or CutMix (Yun et al., 2019) of the batch with its reverse.

    Args:
        photos: (B, 3, H, W), in random order.
        targets: (B, K), rows that sum to 1.
        mixup: share of the batches that are mixed by Mixup, with Beta(0.8, 0.8) weights.
        cutmix: share of the batches that are mixed by CutMix, with Beta(1, 1) areas.

    Returns:
        Mixed photos and targets.
    """
    draw = float(torch.rand(()))
    batch, _, height, width = photos.shape
    other, other_targets = photos.flip(0), targets.flip(0)
    if draw < mixup:
        beta = torch.distributions.Beta(torch.tensor(0.8), torch.tensor(0.8))
        share = beta.sample((batch,)).to(photos.device)
        weight = share.view(-1, 1, 1, 1)
        mixed = weight * photos + (1 - weight) * other
    elif draw < mixup + cutmix:
        inside = random_boxes(batch, height, width, uniform(batch, 0, 1, photos.device))
        mixed = torch.where(inside.unsqueeze(1), other, photos)
        share = 1 - inside.float().mean((1, 2))
    else:
        return photos, targets
    return mixed, share.view(-1, 1) * targets + (1 - share.view(-1, 1)) * other_targets
