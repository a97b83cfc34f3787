"""The table against the counts of the catalogue, with the sizes that tensorflow_datasets gives."""

from typing import Any

import pytest

from arcvit.data.catalogue import suite_tasks
from arcvit.data.make.vtab_sources import SOURCES

TASKS = suite_tasks("vtab")
# From the catalogue of tensorflow_datasets.
RECORDS = {
    "cifar100": {"train": 50_000, "test": 10_000},
    "caltech101": {"train": 3_060, "test": 6_084},
    "dtd": {"train": 1_880, "validation": 1_880, "test": 1_880},
    "oxford_flowers102": {"train": 1_020, "validation": 1_020, "test": 6_149},
    "oxford_iiit_pet": {"train": 3_680, "test": 3_669},
    "svhn_cropped": {"train": 73_257, "test": 26_032},
    "sun397": {"train": 76_128, "validation": 10_875, "test": 21_750},
    "patch_camelyon": {"train": 262_144, "validation": 32_768, "test": 32_768},
    "eurosat": {"train": 27_000},
    "resisc45": {"train": 31_500},
    "diabetic_retinopathy_detection": {"train": 35_126, "validation": 10_906, "test": 42_670},
    "clevr": {"train": 70_000, "validation": 15_000, "test": 15_000},
    "dmlab": {"train": 65_550, "validation": 22_628, "test": 22_735},
    "kitti": {"train": 6_347, "validation": 423, "test": 711},
    "dsprites": {"train": 737_280},
    "smallnorb": {"train": 24_300, "test": 24_300},
}


def test_every_task_has_a_source() -> None:
    assert list(SOURCES) == [task.name for task in TASKS]


@pytest.mark.slow
def test_parts_are_apart_and_large_enough() -> None:
    for task in TASKS:
        source = SOURCES[task.name]
        records = RECORDS[source.dataset]
        places = {
            split: {(part.split, at) for at in part.within(records[part.split])}
            for split, part in source.parts.items()
        }
        assert len(places["test"]) == task.test, task.name
        assert len(places["train"]) >= task.train
        assert len(places["val"]) >= task.val
        assert not places["train"] & places["val"]
        assert not places["test"] & (places["train"] | places["val"])


@pytest.mark.parametrize(
    ("task", "record", "label"),
    [
        ("cifar", {"label": (42,)}, 42),
        ("clevr_count", {"objects/size": (0, 1, 1, 0)}, 1),
        ("clevr_dist", {"objects/pixel_coords": (99.0, 1.0, 12.0, 1.0, 2.0, 8.6)}, 2),
        ("kitti", {"objects/type": (3, 0), "objects/location": (0, 0, 2.0, 0, 0, 15.0)}, 1),
        ("kitti", {"objects/type": (), "objects/location": ()}, 3),
        ("dsprites_loc", {"label_x_position": (31,), "label_orientation": (0,)}, 15),
        ("dsprites_ori", {"label_x_position": (31,), "label_orientation": (5,)}, 2),
        ("smallnorb_azi", {"label_azimuth": (17,), "label_elevation": (3,)}, 17),
        ("smallnorb_ele", {"label_azimuth": (17,), "label_elevation": (3,)}, 3),
    ],
)
def test_labels(task: str, record: dict[str, tuple[Any, ...]], label: int) -> None:
    assert SOURCES[task].label(record) == label
