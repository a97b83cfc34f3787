from collections import Counter
from pathlib import Path
from shutil import copystat

import pytest

from arcvit.core.content import content_hash
from arcvit.core.errors import UserError
from arcvit.data.readers import folds
from arcvit.data.readers.folds import check_folds, fold, whole_groups
from arcvit.data.task import ImageTask, Split

ROOT = Path("/photos")


def task(count: int, *, animals: int | None = None, classes: int = 3) -> ImageTask:
    paths = [ROOT / f"{index:03d}.png" for index in range(count)]
    pairs = [(path, index % classes) for index, path in enumerate(paths)]
    cut = count * 3 // 4
    return ImageTask(
        name="photos",
        root=ROOT,
        layout="folders",
        classes=tuple("abc"[:classes]),
        splits={
            "train": Split.of(pairs[:cut]),
            "val": Split.of(pairs[cut:]),
            "test": Split.of([(ROOT / "test.png", 0)]),
        },
        groups={p: str(i // 4 % animals) for i, p in enumerate(paths)} if animals else {},
    )


@pytest.mark.parametrize("animals", [None, 11])
def test_every_image_is_validated_on_once(animals: int | None) -> None:
    whole = task(72, animals=animals)
    parts = [fold(whole, number, folds=4, seed=0) for number in range(4)]
    validated = [path for part in parts for path in part.split("val").paths]
    assert sorted(validated) == sorted(whole.trainval().paths)
    for part in parts:
        train, val = part.split("train").paths, part.split("val").paths
        assert sorted(train + val) == sorted(whole.trainval().paths)
        assert part.split("test") == whole.split("test")
        if animals:
            assert not {whole.groups[p] for p in train} & {whole.groups[p] for p in val}
        else:
            assert set(Counter(part.split("val").labels).values()) == {6}


@pytest.mark.parametrize("animals", [{}, {0: "tim", 9: "tim", 5: "kit", 11: "kit"}])
def test_copies_stay_together(
    tmp_path: Path, animals: dict[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """0, 4 and 8 are one photo, 1, 5 and 9 another: groups that hold both are joined by them."""
    read: list[Path] = []
    monkeypatch.setattr(folds, "content_hash", lambda path: read.append(path) or content_hash(path))
    paths = [tmp_path / f"{index:02d}.png" for index in range(12)]
    for index, path in enumerate(paths):
        path.write_text(f"photo {index % 4 if index % 4 < 2 else index:02d}")
    whole = ImageTask(
        name="photos",
        root=tmp_path,
        layout="folders",
        classes=("a", "b"),
        splits={"train": Split.of((path, index % 2) for index, path in enumerate(paths))},
        groups={paths[index]: name for index, name in animals.items()},
    )
    rows = [{0, 4, 8, 1, 5, 9, 11}] if animals else [{0, 4, 8}, {1, 5, 9}]
    for number in range(3):
        held = {
            paths.index(path) for path in fold(whole, number, folds=3, seed=0).split("val").paths
        }
        assert all(held >= together or held.isdisjoint(together) for together in rows)
    if not animals:
        with pytest.raises(
            UserError, match="'a' has 4 images but for copies, too few for --folds 5"
        ):
            check_folds(whole, 5)
        assert sorted(read) == paths  # once, by the first of all these
        other = tmp_path / "other"
        other.write_text("photo 12")
        copystat(paths[0], other)
        other.replace(paths[0])
        assert paths[0] not in whole_groups(whole)
        assert read[12:] == paths[:1]


def test_the_seed_decides_alone() -> None:
    whole = task(40)
    turned = ImageTask(
        **{**vars(whole), "splits": {"trainval": whole.trainval().rows(range(39, -1, -1))}}
    )
    first = set(fold(whole, 1, folds=5, seed=0).split("val").paths)
    assert set(fold(turned, 1, folds=5, seed=0).split("val").paths) == first
    assert set(fold(whole, 1, folds=5, seed=1).split("val").paths) != first


@pytest.mark.parametrize(
    ("whole", "number", "sentence"),
    [
        (task(40), 4, r"data.fold is 4: expected a number from 0 to 3"),
        (task(40, animals=3), 0, r"'photos' has 3 groups to divide into data.folds 4"),
        (task(3), 0, r"'photos' has 3 images to divide into data.folds 4"),
    ],
)
def test_folds_that_cant_be(whole: ImageTask, number: int, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        fold(whole, number, folds=4, seed=0)
