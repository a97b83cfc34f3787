"""What a bench refuses of a task's data, what it warns of, and that it looks once."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from arcvit.bench import admission
from arcvit.bench.suite import SuiteTask
from arcvit.core.errors import UserError
from arcvit.core.files import write_json
from arcvit.data.config import DataConfig
from arcvit.data.make.vtab_write import write_vtab
from arcvit.recipe.recipe import Recipe

COUNTS = {"train": 9, "val": 3, "test": 6}
CLASSES = 3


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """A sound task in the VTAB-1k layout, called by a name that is in no catalogue."""
    draws = np.random.default_rng(0)
    splits = {
        split: [
            (Image.fromarray(draws.integers(0, 256, (32, 32, 3), dtype=np.uint8)), i % CLASSES)
            for i in range(count)
        ]
        for split, count in COUNTS.items()
    }
    write_vtab(tmp_path / "mine", splits, classes=("a", "b", "c"), readme="made")
    return tmp_path / "mine"


def admit(path: Path, folder: Path, **data: object) -> None:
    named = SuiteTask(name="mine", group="g", path=str(path))
    recipe = Recipe(data=DataConfig(path=str(path), **data))  # type: ignore[arg-type]
    record = admission.admit(named, recipe, admission.known_data(folder), print)
    if record is not None:
        write_json(folder / "data.json", record)


def images(root: Path, split: str) -> list[Path]:
    name = {"val": "val200.txt", "test": "test.txt"}[split]
    return [root / line.split()[0] for line in (root / name).read_text().splitlines()]


def overlap(root: Path) -> None:
    shutil.copy(images(root, "val")[0], images(root, "test")[0])


def broken(root: Path) -> None:
    images(root, "test")[0].write_text("no image")


def out_of_range(root: Path) -> None:
    list_file = root / "test.txt"
    list_file.write_text(list_file.read_text().rstrip().rsplit(" ", 1)[0] + " 17\n")


def repeated(root: Path) -> None:
    list_file = root / "train800.txt"
    list_file.write_text(list_file.read_text() + list_file.read_text().splitlines()[0] + "\n")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (overlap, "image(s) of val are in test too, by content"),
        (broken, "test has 1 file(s) that can't be read"),
        (out_of_range, "17"),
        (repeated, "expected each image once"),
    ],
)
def test_what_would_give_a_wrong_result_is_refused(
    task: Path, tmp_path: Path, damage: Callable[[Path], None], sentence: str
) -> None:
    damage(task)
    with pytest.raises(UserError) as refusal:
        admit(task, tmp_path / "runs")
    assert sentence in str(refusal.value)
    assert not (tmp_path / "runs").exists()


def test_unreadable_images_may_be_left_out(task: Path, tmp_path: Path) -> None:
    broken(task)
    admit(task, tmp_path / "runs", on_bad="skip")


def test_a_benchmark_is_known_by_its_folder_in_any_suite(
    task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    admit(task.rename(task.with_name("cifar-100")), tmp_path / "runs")
    sentence = "THE TEST SPLIT HAS 6 IMAGES, cifar has 10,000"
    assert sentence in capsys.readouterr().out
    record = json.loads((tmp_path / "runs" / "data.json").read_text())
    assert any(sentence in warning for warning in record["warnings"])
    assert record["counts"] == COUNTS | {"trainval": 12}


def test_it_looks_once(task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    admit(task, tmp_path / "runs")

    def look(*args: object, **kwargs: object) -> None:
        raise AssertionError("looked again")

    monkeypatch.setattr(admission, "look_through", look)
    admit(task, tmp_path / "runs")


def test_other_images_never_stand_in_the_same_row(task: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    admit(task, runs)
    list_file = task / "test.txt"
    list_file.write_text("\n".join(list_file.read_text().splitlines()[:-1]) + "\n")
    admit(task, runs)  # nothing has been trained on what was there before
    assert json.loads((runs / "data.json").read_text())["counts"]["test"] == 5
    (runs / "arc" / "seed-0").mkdir(parents=True)
    (runs / "arc" / "seed-0" / "result.json").write_text("{}")
    admit(task, runs)
    list_file.write_text("\n".join(list_file.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(UserError, match=r"isn't what the earlier runs of mine were trained and"):
        admit(task, runs)


def test_another_photo_of_the_same_size(task: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    admit(task, runs)
    (runs / "result.json").write_text("{}")
    photo = images(task, "test")[0]
    content = photo.read_bytes()
    photo.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match="isn't what the earlier runs"):
        admit(task, runs)
