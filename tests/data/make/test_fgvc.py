"""FGVC from the original downloads: CUB's lists here, MATLAB's in test_fgvc_originals.py."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.data.catalogue import find_task
from arcvit.data.make.fgvc import PreparedFgvc, prepare_fgvc
from arcvit.data.make.fgvc_lists import draw_lists
from arcvit.data.make.fgvc_originals import Original
from arcvit.data.readers.layouts import open_task

Plant = Callable[[Mapping[str, int]], Path]

# NABirds' numbers have gaps; a class of 5, one of 12 and one of 18 images to train on.
SIZES = {"002.Loon": (5, 3), "007.Gull": (12, 4), "011.Tern": (18, 2)}
CUB = replace(find_task("cub"), classes=3, train=31, val=4, test=9)


@pytest.fixture
def source(plant: Plant) -> Path:
    """CUB-200-2011 as its archive unpacks, with three classes."""
    root = plant({f"CUB_200_2011/images/{name}": sum(n) for name, n in SIZES.items()})
    images, labels, split = [], [], []
    for name, (train, test) in SIZES.items():
        for index in range(train + test):
            number = len(images) + 1
            images.append(f"{number} {name}/{index:03d}.jpg\n")
            labels.append(f"{number} {int(name[:3])}\n")
            split.append(f"{number} {int(index < train)}\n")
    folder = root / "CUB_200_2011"
    (folder / "images.txt").write_text("".join(images))
    (folder / "image_class_labels.txt").write_text("".join(labels))
    (folder / "train_test_split.txt").write_text("".join(split))
    (folder / "classes.txt").write_text("".join(f"{int(name[:3])} {name}\n" for name in SIZES))
    (root / "attributes.txt").touch()  # the archive has it beside the folder
    return root


def prepare(source: Path, out: str = "out", **options: object) -> PreparedFgvc:
    return prepare_fgvc(CUB, source, source / out, **{"seed": 0, **options})  # type: ignore[arg-type]


def lists_in(folder: Path) -> dict[str, dict[str, int]]:
    return {
        split: json.loads((folder / f"{split}.json").read_text())
        for split in ("train", "val", "test")
    }


def test_a_tenth_of_train_validates(source: Path) -> None:
    prepared = prepare(source)
    assert prepared.counts == {"train": 31, "val": 4, "test": 9}
    assert (prepared.written, prepared.validation) == (True, "drawn")
    task = open_task(prepared.folder)
    assert (task.layout, task.classes) == ("fgvc", tuple(SIZES))
    assert {split: len(images) for split, images in task.splits.items()} == prepared.counts
    assert task.split("test").paths[0] == prepared.folder / "images/002.Loon/005.jpg"
    assert (prepared.folder / "images").resolve() == source / "CUB_200_2011/images"
    lists = lists_in(prepared.folder)
    assert set(lists["test"].values()) == {2, 7, 11}
    # A tenth of 5, 12 and 18 is between 0 and 1, 1 and 2, and 1 and 2 images.
    of_class = Counter(lists["val"].values())
    assert of_class[2] <= 1 <= of_class[7] <= 2
    assert 1 <= of_class[11] <= 2
    assert "Validation isn't VPT's" in (prepared.folder / "README.md").read_text()


def test_a_draw_is_even_and_spares_single_images() -> None:
    sizes = {1: 1, 2: 30, 3: 29, 4: 45, 5: 8}
    train = {f"{label}/{i}.jpg": label for label, count in sizes.items() for i in range(count)}
    original = Original(
        folder=Path(), parts={"train": train, "test": {"t.jpg": 1}}, image_folders=()
    )
    draws = [draw_lists(original, seed) for seed in range(30)]
    for lists in draws:
        assert lists["train"].keys() | lists["val"].keys() == train.keys()
        assert len(lists["val"]) == 12  # of 113
        drawn = Counter(lists["val"].values())
        assert drawn[1] == 0
        assert all(abs(drawn[label] - sizes[label] / 10) < 1.2 for label in (2, 3, 4, 5))
    assert len({tuple(lists["val"]) for lists in draws}) == len(draws)


def test_the_seed_decides_and_the_same_is_left_alone(source: Path) -> None:
    first = prepare(source)
    stamp = (first.folder / "train.json").stat().st_mtime_ns
    assert not prepare(source / "CUB_200_2011", "../out").written
    assert (first.folder / "train.json").stat().st_mtime_ns == stamp
    other = prepare(source, "other", seed=1)
    assert lists_in(other.folder)["val"] != lists_in(first.folder)["val"]
    with pytest.raises(UserError, match=r"there already and its train\.json is another one"):
        prepare(source, seed=1)
    with pytest.raises(UserError, match="links to images in place of copies"):
        prepare(source, copy=True)


@pytest.mark.parametrize("unpacked", ["cub_200", "unpacked", ""])
def test_what_was_built_beside_the_download_is_no_source(source: Path, unpacked: str) -> None:
    """``--source data --out data`` puts a folder of the task's name beside the lists."""
    (source / "CUB_200_2011").rename(source / (unpacked or "flat"))
    root = source if unpacked else source / "flat"
    first = prepare_fgvc(CUB, root, root, seed=0)
    assert not prepare_fgvc(CUB, root, root, seed=0).written
    other = prepare_fgvc(CUB, root, source / "out", seed=1)
    assert (first.validation, other.validation) == ("drawn", "drawn")


def test_copies(source: Path) -> None:
    (source / "CUB_200_2011/images/002.Loon/000.jpg").write_bytes(b"photo")
    copied = prepare(source, copy=True).folder
    assert not (copied / "images").is_symlink()
    assert len(open_task(copied).split("train")) == 31
    assert not prepare(source, copy=True).written
    (copied / "images/002.Loon/000.jpg").write_bytes(b"another")
    with pytest.raises(UserError, match=r"its 002\.Loon/000\.jpg is missing or another one"):
        prepare(source, copy=True)


@pytest.fixture
def theirs(source: Path) -> Path:
    """Lists as VPT's: another draw, in any order, with numbers of their own from 0."""
    lists = lists_in(prepare(source, "drawn", seed=3).folder)
    folder = source / "vpt/cub200"
    folder.mkdir(parents=True)
    numbers = {2: 0, 7: 1, 11: 2}
    for split, listed in lists.items():
        named = {f"images/{name}": numbers[label] for name, label in reversed(listed.items())}
        (folder / f"{split}.json").write_text(json.dumps(named))
    return folder


@pytest.mark.parametrize("beside", [False, True])
def test_the_lists_of_vpt_are_taken(source: Path, theirs: Path, beside: bool) -> None:
    if beside:
        for file in theirs.iterdir():
            file.rename(source / "CUB_200_2011" / file.name)
        prepared = prepare(source)
        assert prepared.lists == source / "CUB_200_2011"
    else:
        prepared = prepare(source, lists=theirs.parent)
        assert prepared.lists == theirs
    assert prepared.validation == "lists"
    taken, drawn = lists_in(prepared.folder), lists_in(source / "drawn/CUB_200_2011")
    assert {split: set(part) for split, part in taken.items()} == {
        split: set(part) for split, part in drawn.items()
    }
    assert set(taken["val"].values()) <= {0, 1, 2}
    assert open_task(prepared.folder).classes == tuple(SIZES)


@pytest.mark.parametrize(
    ("split", "change", "sentence"),
    [
        ("val", None, r"val\.json isn't there: expected train\.json, val\.json, test\.json"),
        ("val", {}, r"val\.json has no images"),
        ("val", {"car_ims/1.jpg": 0}, r"such as 'car_ims/1\.jpg' where that has '002\.Loon/000"),
        ("test", {"images/002.Loon/005.jpg": 0}, r"test\.json has 1 images that aren't the 9"),
        ("val", {"images/002.Loon/005.jpg": 0}, "1 image.s. of test in another list too"),
        ("val", {"images/002.Loon/000.jpg": 0}, r"of val in another list too|lack [34] image"),
    ],
)
def test_wrong_lists(
    source: Path, theirs: Path, split: str, change: dict[str, int] | None, sentence: str
) -> None:
    file = theirs / f"{split}.json"
    file.unlink()
    if change is not None:
        file.write_text(json.dumps(change))
    with pytest.raises(UserError, match=sentence):
        prepare(source, lists=theirs)
    assert not (source / "out").exists()


def test_lists_with_other_classes(source: Path, theirs: Path) -> None:
    file = theirs / "train.json"
    listed = json.loads(file.read_text())
    file.write_text(json.dumps({name: min(label, 1) for name, label in listed.items()}))
    with pytest.raises(UserError, match=r"have other classes than .*one number of theirs for each"):
        prepare(source, lists=theirs)
    with pytest.raises(UserError, match=r"has no train\.json, nor has a folder CUB_200_2011"):
        prepare(source, lists=source / "out")


def _drop(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_drop("images.txt"), r"has no images\.txt"),
        (_drop("train_test_split.txt"), r"has no train_test_split\.txt"),
        (_drop("images/002.Loon/000.jpg"), "lists 1 image.s. that are not there"),
        (lambda f: (f / "images/002.Loon/new.jpg").touch(), "1 file.s. that no list names"),
        (
            lambda f: (f / "images.txt").write_text("1 ../../up.jpg\n7 a.jpg\n"),
            r"1 image.s. outside it: \.\./\.\./up\.jpg",
        ),
        (
            lambda f: (f / "images.txt").write_text("1 002.Loon/000.jpg\n7 002.Loon/006.jpg\n"),
            "expected 3 classes and 35 train, 9 test images, its lists have 1 classes and 1 train,"
            " 1 test",
        ),
    ],
)
def test_wrong_sources(source: Path, spoil: Callable[[Path], None], sentence: str) -> None:
    spoil(source / "CUB_200_2011")
    with pytest.raises(UserError, match=sentence):
        prepare(source)
    assert not (source / "out").exists()


def test_in_a_folder_of_downloads_the_name_tells(source: Path) -> None:
    other = source / "A_first"
    other.mkdir()
    for name in ("images.txt", "image_class_labels.txt", "train_test_split.txt"):
        (other / name).write_text("1 0\n")
    assert prepare(source).counts["test"] == 9


def test_wrong_places(source: Path) -> None:
    with pytest.raises(UserError, match="nowhere isn't there: expected a folder"):
        prepare(source / "nowhere")
    with pytest.raises(UserError, match=r"attributes\.txt is a file: expected a folder"):
        prepare_fgvc(CUB, source / "attributes.txt", source, seed=0)
    with pytest.raises(UserError, match=r"has no images\.txt or train_test_split\.txt, nor has"):
        prepare(source / "CUB_200_2011/images")
    with pytest.raises(UserError, match="would put the task into its source"):
        prepare_fgvc(CUB, source, source, seed=0)
