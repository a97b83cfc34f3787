"""VTAB's label rules: from what a source records to the label of the task.

Pure functions on small arrays, after google-research/task_adaptation (``task_adaptation/data/``:
``clevr.py``, ``dsprites.py``, ``kitti.py``, ``smallnorb.py``).
"""

import math
from collections.abc import Sequence

CLEVR_DEPTHS = (0.0, 8.0, 8.5, 9.0, 9.5, 10.0, 100.0)
"""Limits between the classes of ``clevr_dist``, in CLEVR's own unit of depth."""
KITTI_DEPTHS = (-100.0, 8.0, 20.0, 999.0)
"""Limits between the classes of ``kitti``, in metres."""
KITTI_VEHICLES = 3
"""Types below this are vehicles: car, van, truck."""
KITTI_NO_VEHICLE = 1000.0
"""Depth that stands for a scene without a vehicle, in metres."""
CLEVR_FEWEST = 3
"""Objects in the emptiest scene of CLEVR."""
CLEVR_MOST = 10
"""Objects in the fullest scene of CLEVR."""


def clevr_count_label(objects: int) -> int:
    """The label of ``clevr_count``: objects in the scene, from 3 to 10, counted from 0.

    Raises:
        ValueError: a number of objects that CLEVR has not.
    """
    if not CLEVR_FEWEST <= objects <= CLEVR_MOST:
        raise ValueError(f"a scene of {objects} objects: expected {CLEVR_FEWEST} to {CLEVR_MOST}")
    return objects - CLEVR_FEWEST


def clevr_dist_label(depths: Sequence[float]) -> int:
    """The label of ``clevr_dist``: how near the nearest object is.

    Args:
        depths: third of the ``pixel_coords`` of each object, in CLEVR's unit.

    Raises:
        ValueError: no objects, or a depth that is not above 0.
    """
    if not depths:
        raise ValueError("a scene without objects")
    return last_below(CLEVR_DEPTHS, min(depths))


def kitti_label(types: Sequence[int], depths: Sequence[float]) -> int:
    """The label of ``kitti``: how near the nearest vehicle is, 3 where there is none.

    Args:
        types: class of each object, 0 car, 1 van, 2 truck, above that no vehicle.
        depths: z of each object's location, in metres.

    Raises:
        ValueError: not as many depths as types, or a depth of -100 m or less.
    """
    if len(types) != len(depths):
        raise ValueError(f"{len(types)} types but {len(depths)} depths")
    vehicles = [z for kind, z in zip(types, depths, strict=True) if kind < KITTI_VEHICLES]
    return last_below(KITTI_DEPTHS, min([*vehicles, KITTI_NO_VEHICLE]))


def grouped_label(value: int, *, values: int, classes: int) -> int:
    """The label of a dSprites task: neighbouring values of a latent factor are one class.

    Args:
        value: index of the factor's value, from 0 to ``values - 1``.
        values: how many values the factor has: 32 positions, 40 orientations.
        classes: how many classes they make: 16.

    Raises:
        ValueError: a value out of range.
    """
    if not 0 <= value < values:
        raise ValueError(f"the value {value}: expected 0 to {values - 1}")
    return math.floor(value / (values / classes))


def last_below(limits: Sequence[float], value: float) -> int:
    """Index of the last of the rising limits that the value is above.

    Raises:
        ValueError: the value is above none of them.
    """
    above = [index for index, limit in enumerate(limits) if limit < value]
    if not above:
        raise ValueError(f"{value} is not above {limits[0]}")
    return above[-1]
