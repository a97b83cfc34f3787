"""Photos read from tar files, kept in memory as one `uint8` tensor.

Shapes: N photos, C = 3 channels, H = W pixels.
"""

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def read_classes(path: Path) -> list[str]:
    """Class names in label order: the first word of each line of `path`."""
    return [line.split()[0] for line in path.read_text().splitlines() if line.strip()]


def read_photos(path: Path, classes: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Decode every `<split>/<class>/<file>` of a tar, without unpacking it to disk.

    Args:
        path: the tar file; all photos have the same size.
        classes: class names in label order.

    Returns:
        Photos (N, 3, H, W) as `uint8` and labels (N,) as `int64`, in the order of their names.

    Raises:
        KeyError: a photo's folder is none of `classes`.
    """
    label_of = {name: label for label, name in enumerate(classes)}
    photos, labels = [], []
    with tarfile.open(path) as tar:
        for member in sorted(tar.getmembers(), key=lambda member: member.name):
            file = tar.extractfile(member)
            if file is None:  # a folder
                continue
            with Image.open(io.BytesIO(file.read())) as image:
                photos.append(np.asarray(image.convert("RGB")))
            labels.append(label_of[Path(member.name).parent.name])
    return torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels)


def normalize(photos: Tensor) -> Tensor:
    """ImageNet mean and deviation off RGB in [0, 1]. Shape: (B, 3, H, W)."""
    mean, std = (photos.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (photos - mean) / std
