"""timm's ``crop_pct``, in which its configs keep the size that an image is resized to."""

import math


def crop_pct(size: int, resize_size: int) -> float:
    """The share from which timm gets ``resize_size`` back, as ``floor(size / crop_pct)``.

    Args:
        size: edge of the input in pixels.
        resize_size: edge that is cropped to it.
    """
    share = size / resize_size
    while math.floor(size / share) < resize_size:
        share = math.nextafter(share, 0)
    return share
