"""Where each task of VTAB-1k comes from in tensorflow_datasets: data set, parts, label.

After google-research/task_adaptation (``task_adaptation/data/``, one file a data set). Training
images are the first 800 records of ``train`` and the first 200 of ``val`` in the files.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from arcvit.data.make.tfds import Part
from arcvit.data.make.tfrecord import Record
from arcvit.data.make.vtab_rules import (
    clevr_count_label,
    clevr_dist_label,
    grouped_label,
    kitti_label,
)

Parts = Mapping[str, Part]
"""What train, val and test of a task are taken from.

The first records of the first two are its images; of the last one all are.
"""


@dataclass(frozen=True)
class VtabSource:
    """The source of one task."""

    dataset: str
    """Name in tensorflow_datasets."""
    parts: Parts
    """What its splits are taken from."""
    config: str | None = None
    """Its config."""
    feature: str = "label"
    """The feature that the label is, or is made from."""
    rule: Callable[[Record], int] | None = None
    """The label of a record; None: the feature itself."""
    binary: bool = False
    """Whether pixels are 0 and 1, to be multiplied by 255."""

    def label(self, record: Record) -> int:
        """The label of a record.

        Raises:
            LookupError: the record lacks the feature.
            ValueError: values that the data set has not.
        """
        return int(record[self.feature][0]) if self.rule is None else self.rule(record)


def _last_of_train(start: int, *, test: str = "test") -> Parts:
    """Val is the last part of train; test is a split of its own."""
    return {
        "train": Part("train", stop=start),
        "val": Part("train", start=start),
        "test": Part(test),
    }


def _all_of_train(val: int, test: int) -> Parts:
    """One split is train, then val, then test."""
    return {
        "train": Part("train", stop=val),
        "val": Part("train", start=val, stop=test),
        "test": Part("train", start=test),
    }


_OWN = {"train": Part("train"), "val": Part("validation"), "test": Part("test")}
_CLEVR = _last_of_train(90, test="validation")
_NORB = {"train": Part("train"), "val": Part("test", stop=50), "test": Part("test", start=50)}


def _clevr_count(record: Record) -> int:
    return clevr_count_label(len(record["objects/size"]))


def _clevr_dist(record: Record) -> int:
    return clevr_dist_label(record["objects/pixel_coords"][2::3])


def _kitti(record: Record) -> int:
    return kitti_label(record["objects/type"], record["objects/location"][2::3])


def _dsprites(feature: str, values: int) -> VtabSource:
    def rule(record: Record) -> int:
        return grouped_label(record[feature][0], values=values, classes=16)

    return VtabSource("dsprites", _all_of_train(80, 90), feature=feature, rule=rule, binary=True)


SOURCES: Mapping[str, VtabSource] = MappingProxyType(
    {
        "cifar": VtabSource("cifar100", _last_of_train(90)),
        "caltech101": VtabSource("caltech101", _last_of_train(90)),
        "dtd": VtabSource("dtd", _OWN),
        "oxford_flowers102": VtabSource("oxford_flowers102", _OWN),
        "oxford_iiit_pet": VtabSource("oxford_iiit_pet", _last_of_train(80)),
        "svhn": VtabSource("svhn_cropped", _last_of_train(90)),
        "sun397": VtabSource("sun397", _OWN, "tfds"),
        "patch_camelyon": VtabSource("patch_camelyon", _OWN),
        "eurosat": VtabSource("eurosat", _all_of_train(60, 80), "rgb"),
        "resisc45": VtabSource("resisc45", _all_of_train(60, 80)),
        "diabetic_retinopathy": VtabSource("diabetic_retinopathy_detection", _OWN, "btgraham-300"),
        "clevr_count": VtabSource("clevr", _CLEVR, feature="objects/size", rule=_clevr_count),
        "clevr_dist": VtabSource("clevr", _CLEVR, feature="objects/pixel_coords", rule=_clevr_dist),
        "dmlab": VtabSource("dmlab", _OWN),
        "kitti": VtabSource("kitti", _OWN, feature="objects/location", rule=_kitti),
        "dsprites_loc": _dsprites("label_x_position", 32),
        "dsprites_ori": _dsprites("label_orientation", 40),
        "smallnorb_azi": VtabSource("smallnorb", _NORB, feature="label_azimuth"),
        "smallnorb_ele": VtabSource("smallnorb", _NORB, feature="label_elevation"),
    }
)
"""The source of each task, by the task's name."""
