"""Parquet, arrow and tar: what needs a library is skipped without it."""

import gc
import io
import json
import sys
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arcvit.core.errors import UserError
from arcvit.data.readers.layouts import open_task
from arcvit.data.readers.reader import Opening
from arcvit.data.readers.unpack import Container, unpack

Plant = Callable[[Mapping[str, int]], Path]
QUARTERS = Opening(val_fraction=0.25, test_fraction=0.25)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(folder))
    return folder


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def images(count: int, *, start: int = 0) -> list[tuple[bytes, int]]:
    return [(png(start + index), index % 2) for index in range(count)]


def container(**splits: list[tuple[bytes, int]]) -> Container:
    return Container(
        name="some/birds",
        layout="datasets",
        key="1",
        classes=("owl", "kite"),
        splits={s: [(content, (label,)) for content, label in held] for s, held in splits.items()},
    )


def test_images_of_several_labels() -> None:
    held = [(png(0), (0, 1)), (png(1), ()), (png(2), (1,)), (png(3), (0,))]
    whole = replace(container(), kind="multilabel", splits={"train": held})
    task = unpack(whole, Opening(kind="multilabel", val_fraction=0, test_fraction=0)).task
    assert task.split("train").label_sets == ((0, 1), (), (1,), (0,))
    wrong = replace(whole, key="2", splits={"train": [(png(0), (0, 2))]})
    with pytest.raises(UserError, match="the label 2 in train"):
        unpack(wrong, Opening(kind="multilabel"))


def test_unpacked_bytes_are_the_source_s(home: Path) -> None:
    held = {"train": images(8), "val": images(4, start=20), "test": images(2, start=40)}
    task = unpack(container(**held), QUARTERS).task
    assert (task.name, task.classes) == ("birds", ("owl", "kite"))
    assert task.root.is_relative_to(home)
    for split, content in held.items():
        assert [path.read_bytes() for path in task.split(split).paths] == [b for b, _ in content]
        assert task.split(split).labels == tuple(label for _, label in content)
        assert {path.suffix for path in task.split(split).paths} == {".png"}


def test_they_are_unpacked_once() -> None:
    first = unpack(container(train=images(8)), QUARTERS).task
    assert first == unpack(container(train=[(b"never read", 99)]), QUARTERS).task
    assert {name: len(split) for name, split in first.splits.items()} == {
        "train": 4,
        "val": 2,
        "test": 2,
    }


@pytest.mark.parametrize(
    ("splits", "sentence"),
    [
        ({"test": images(2)}, "no split 'train': its splits are test"),
        ({"train": [(png(0), 2)]}, "the label 2 in train: expected labels from 0 to 1"),
        ({"train": [(png(0), -1)]}, "the label -1"),
    ],
)
def test_wrong_containers(
    home: Path, splits: dict[str, list[tuple[bytes, int]]], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        unpack(container(**splits), QUARTERS)
    assert "label" not in sentence or not list(home.rglob("*.png"))


@pytest.mark.parametrize(
    ("name", "library", "extra"),
    [
        ("data/train-00000-of-00001.parquet", "datasets", "datasets"),
        ("dataset_dict.json", "datasets", "datasets"),
        ("train-000000.tar", "webdataset", "webdataset"),
    ],
)
def test_without_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, library: str, extra: str
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UserError, match=rf"pip install 'arcvit\[{extra}\]'"):
        open_task(tmp_path)


def test_the_hub_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"hf:some/birds .*arcvit\[datasets\]"):
        open_task("hf:some/birds")


def test_parquet_and_arrow(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["owl", "kite"])}
    )
    folder = tmp_path / "parquet" / "data"
    folder.mkdir(parents=True)
    for split, held in {"train": images(8), "test": images(4, start=20)}.items():
        columns = {
            "image": [{"bytes": content, "path": None} for content, _ in held],
            "label": [label for _, label in held],
        }
        write_parquet(folder / f"{split}-00000-of-00001.parquet", columns, features)
    files = {split: str(folder / f"{split}-*.parquet") for split in ("train", "test")}
    datasets.load_dataset("parquet", data_files=files).save_to_disk(tmp_path / "arrow")
    for name in ("parquet", "arrow"):
        task = open_task(tmp_path / name, QUARTERS)
        assert (task.layout, task.classes) == ("datasets", ("owl", "kite"))
        counts = {split: len(found) for split, found in task.splits.items()}
        assert counts == {"train": 6, "val": 2, "test": 4}
        assert task.split("test").paths[1].read_bytes() == png(21)
        assert task.split("test").labels == (0, 1, 0, 1)
    shard = "00000-of-00001"
    for file in (f"parquet/data/train-{shard}.parquet", f"arrow/train/data-{shard}.arrow"):
        alone = open_task(tmp_path / file, QUARTERS)
        assert (alone.layout, alone.classes) == ("datasets", ("owl", "kite"))
        assert {split: len(found) for split, found in alone.splits.items()} == {
            "train": 4,
            "val": 2,
            "test": 2,
        }
    for lacking, where in (("label", "no label in row 1"), ("image", "no image in row 1")):
        columns = {
            "image": [{"bytes": png(seed), "path": None} for seed in range(3)],
            "label": [0, 1, 0],
        }
        columns[lacking][1] = None  # type: ignore[call-overload]
        broken = tmp_path / lacking / "train-00000-of-00001.parquet"
        broken.parent.mkdir()
        write_parquet(broken, columns, features)
        with pytest.raises(UserError, match=where):
            open_task(broken.parent)
    damaged = tmp_path / "damaged.parquet"
    content = bytearray((folder / "train-00000-of-00001.parquet").read_bytes())
    content[4:64] = bytes(60)
    damaged.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged.parquet can't be loaded .*file or folder"):
        open_task(damaged)
    (tmp_path / "parquet/data/more.parquet").touch()
    with pytest.raises(UserError, match="says no split"):
        open_task(tmp_path / "parquet")


# The library leaves metadata.csv open until it is collected.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_imagefolder_with_metadata(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    for split, count in {"train": 8, "test": 4}.items():
        (tmp_path / split).mkdir()
        lines = ["file_name,label"]
        for index, (content, label) in enumerate(images(count)):
            (tmp_path / split / f"{index}.png").write_bytes(content)
            lines.append(f"{index}.png,{['owl', 'kite'][label]}")
        (tmp_path / split / "metadata.csv").write_text("\n".join(lines))
    task = open_task(tmp_path, QUARTERS)
    assert (task.layout, task.classes) == ("datasets", ("kite", "owl"))
    assert {split: len(found) for split, found in task.splits.items()} == {
        "train": 6,
        "val": 2,
        "test": 4,
    }
    assert task.split("test").paths[1].read_bytes() == images(4)[1][0]
    assert task.split("test").labels[:2] == (1, 0)


def test_the_config_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    asked: list[object] = []

    def load(*arguments: object) -> None:
        asked.append(arguments)
        raise ConnectionError("no network here")

    monkeypatch.setattr(datasets, "load_dataset", load)
    for name in ("hf:some/birds:rare", "hf:some/birds"):
        with pytest.raises(UserError, match=r"no network here\): expected a name on the hub"):
            open_task(name)
    assert asked == [("some/birds", "rare"), ("some/birds", None)]


def test_the_librarys_own_sentence_comes_before_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def load(*_: object) -> None:
        raise datasets.exceptions.DatasetNotFoundError("no such data set") from OSError("HTTP 401")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(UserError, match=r"\(DatasetNotFoundError: no such data set\)"):
        open_task("hf:some/birds")


def write_shard(file: Path, samples: list[dict[str, bytes]]) -> None:
    with tarfile.open(file, "w") as tar:
        for index, sample in enumerate(samples):
            for key, content in sample.items():
                entry = tarfile.TarInfo(f"{index:04d}.{key}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))


# The library leaves the last shard of a reading open until it is collected.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_shards(tmp_path: Path) -> None:
    pytest.importorskip("webdataset")
    for shard, start in (("train-000000", 0), ("train-000001", 10), ("val-000000", 20)):
        samples = [
            {"png": content, "cls": str(label).encode()}
            for content, label in images(4, start=start)
        ]
        write_shard(tmp_path / f"{shard}.tar", samples)
    task = open_task(tmp_path)
    assert (task.layout, task.classes) == ("webdataset", ("0", "1"))
    assert {split: len(found) for split, found in task.splits.items()} == {"train": 8, "val": 4}
    assert task.split("train").paths[5].read_bytes() == png(11)
    (tmp_path / "classes.txt").write_text("owl\nkite\n")
    assert open_task(tmp_path).classes == ("owl", "kite")
    write_shard(tmp_path / "test-000000.tar", [{"png": png(0), "txt": b"a"}])
    with pytest.raises(UserError, match=r"sample 0000 holds png, txt: expected one image and"):
        open_task(tmp_path)
    (tmp_path / "test-000000.tar").write_bytes(b"no tar" * 1000)
    with pytest.raises(UserError, match=r"one of the shards .*test-000000.tar can't be read"):
        open_task(tmp_path)
    gc.collect()


def write_parquet(file: Path, columns: dict[str, list[object]], features: object) -> None:
    """As the hub's own files are: the kinds of the columns are told in the metadata."""
    pyarrow = pytest.importorskip("pyarrow")
    metadata = {"huggingface": json.dumps({"info": {"features": features.to_dict()}})}
    table = pyarrow.table(columns, features.arrow_schema).replace_schema_metadata(metadata)
    pytest.importorskip("pyarrow.parquet").write_table(table, file)


SEVERAL = Opening(kind="multilabel", val_fraction=0, test_fraction=0)
PHOTOS = [("sea", "sky"), (), ("sky",), ("sea", "fog")]


@pytest.mark.parametrize("form", ["indices", "names", "text"])
def test_several_labels_in_parquet(tmp_path: Path, form: str) -> None:
    datasets = pytest.importorskip("datasets")
    classes = ["sea", "sky", "fog"] if form == "indices" else ["fog", "sea", "sky"]
    cells: list[object] = ["|".join(names) for names in PHOTOS]
    kind = datasets.Value("string")
    if form != "text":
        inner = datasets.ClassLabel(names=classes) if form == "indices" else kind
        kind = datasets.List(inner)
        cells = [[classes.index(n) if form == "indices" else n for n in own] for own in PHOTOS]
    features = datasets.Features({"image": datasets.Image(), "labels": kind})
    content = [{"bytes": png(row), "path": None} for row in range(4)]
    write_parquet(tmp_path / "train.parquet", {"image": content, "labels": cells}, features)
    task = open_task(tmp_path / "train.parquet", SEVERAL)
    assert task.classes == tuple(classes)
    labels = task.split("train").label_sets
    assert [{classes[label] for label in own} for own in labels] == [{*own} for own in PHOTOS]
    if form != "text":
        with pytest.raises(UserError, match=r"has a list of labels .*give --task multilabel"):
            open_task(tmp_path / "train.parquet")


def test_odd_cells_in_parquet(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    text, number = datasets.Value("string"), datasets.Value("float32")
    for kind, cells, told in (
        (datasets.List(text), [["sea", None], [], None, ["sky", ""]], ("sea", "sky")),
        (datasets.List(number), [[1.0], [2.0, float("nan")], [], [2.0]], ("1.0", "2.0")),
        (datasets.List(datasets.Value("int8")), [[1, 0, 1], [0, 0, 1], [0, 0, 0]], "a row of 0"),
        (datasets.List({"name": text}), [[{"name": "sea"}], []], "neither names nor numbers"),
    ):
        features = datasets.Features({"image": datasets.Image(), "labels": kind})
        content = [{"bytes": png(row), "path": None} for row in range(len(cells))]
        write_parquet(tmp_path / "train.parquet", {"image": content, "labels": cells}, features)
        if isinstance(told, tuple):
            assert open_task(tmp_path / "train.parquet", SEVERAL).classes == told
            continue
        with pytest.raises(UserError, match=told):
            open_task(tmp_path / "train.parquet", SEVERAL)


def test_one_label_in_parquet_is_not_several(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    label = datasets.ClassLabel(names=["owl", "kite"])
    features = datasets.Features({"image": datasets.Image(), "label": label})
    content = [{"bytes": png(row), "path": None} for row in range(2)]
    rows = {"image": content, "label": [0, 1]}
    write_parquet(tmp_path / "train.parquet", rows, features)
    for column, sentence in (
        ("label", "one label in the column 'label': expected lists or texts like a.b"),
        ("labels", "columns image, label: expected one of lists of labels"),
        (None, "columns image, label: expected one of lists of labels"),
    ):
        with pytest.raises(UserError, match=sentence):
            open_task(tmp_path / "train.parquet", replace(SEVERAL, label_column=column))


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_several_labels_in_shards(tmp_path: Path) -> None:
    pytest.importorskip("webdataset")

    def shard(*told: object) -> Path:
        samples = [
            {"png": png(row), "json": json.dumps(own).encode()} for row, own in enumerate(told)
        ]
        write_shard(tmp_path / "train-000000.tar", samples)
        return tmp_path

    task = open_task(shard(["sky", "sea"], {"labels": []}, {"labels": ["sea"]}), SEVERAL)
    assert (task.classes, task.split("train").label_sets) == (("sea", "sky"), ((0, 1), (), (0,)))
    assert open_task(shard([1, 0], [], [0]), SEVERAL).classes == ("0", "1")
    for told, sentence in (
        (({"caption": "sea"},), "expected one image and a list of class names"),
        ((["sea"], [1]), "labels by name, as 'sea', and by number, as 1"),
        (([1, 0, 1], [0, 0, 1]), "a row of 0 and 1 for each image"),
    ):
        with pytest.raises(UserError, match=sentence):
            open_task(shard(*told), SEVERAL)
    (tmp_path / "classes.txt").write_text("sea\nsky\n")
    with pytest.raises(UserError, match=r"'sae', which isn't in classes.txt.*Did you mean 'sea'"):
        open_task(shard(["sae"]), SEVERAL)
    gc.collect()
