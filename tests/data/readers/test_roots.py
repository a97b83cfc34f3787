from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.data.readers.roots import find_suite, tasks_in

Plant = Callable[[Mapping[str, int]], Path]


def test_tasks_are_found_by_alias(plant: Plant) -> None:
    root = plant({"CIFAR100": 0, "pets": 0, "clevr-distance": 0, "notes": 0})
    found = find_suite(root, "vtab")
    assert {name: path.name for name, path in found.found.items()} == {
        "cifar": "CIFAR100",
        "oxford_iiit_pet": "pets",
        "clevr_dist": "clevr-distance",
    }
    assert len(found.missing) == 16
    sentence = found.sentence()
    assert "3 of the 19 tasks of vtab" in sentence
    assert "cifar, oxford_iiit_pet, clevr_dist. Not there" in sentence
    assert "oxford_flowers102 (flowers102, flowers)" in sentence
    assert "dtd, " in sentence


def test_a_full_suite(plant: Plant) -> None:
    root = plant({"CUB": 0, "nabirds": 0, "flowers": 0, "StanfordDogs": 0, "cars": 0, "cifar": 0})
    found = find_suite(root, "fgvc")
    assert found.missing == ()
    assert found.sentence().endswith(
        "CUB_200_2011, NABirds, OxfordFlowers, StanfordDogs, StanfordCars."
    )


def test_wrong_roots(plant: Plant) -> None:
    root = plant({"cifar": 0, "cifar100": 0})
    with pytest.raises(UserError, match="two folders for cifar, 'cifar' and 'cifar100'"):
        find_suite(root, "vtab")
    with pytest.raises(UserError, match="nowhere isn't there"):
        find_suite(root / "nowhere", "vtab")


def test_tasks_in_a_folder(plant: Plant) -> None:
    root = plant({"x/a/train/cat": 1, "x/b": 1, "photos/cat": 1, "photos/dog": 1})
    (root / "x/b/train.json").touch()
    assert tasks_in(root / "x") == [root / "x/a", root / "x/b"]
    (root / "x/svhn").mkdir()
    (root / "x/notes").mkdir()
    assert tasks_in(root / "x") == [root / "x/a", root / "x/b", root / "x/svhn"]
    assert tasks_in(root / "x/a") == [root / "x/a"]
    assert tasks_in(root / "photos") == [root / "photos"]
