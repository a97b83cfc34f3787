import csv
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE

import pytest
from PIL import Image

from arcvit.cli.main import main
from arcvit.core.result import read_result

Arcvit = Callable[..., object]
Trained = Callable[[str], Path]
CLASSES = ["blue", "green", "red", "white"]


@pytest.mark.parametrize("method", ["arc", "linear", "full", "lora"])
def test_class_names_of_every_test_photo(
    arcvit: Arcvit, trained: Trained, photos: Path, method: str
) -> None:
    images = sorted((photos / "test").glob("*/*.png"))
    lines = arcvit("predict", trained(method), *images, "--json").out.splitlines()
    answers = [json.loads(line) for line in lines]
    assert [answer["path"] for answer in answers] == [str(image) for image in images]
    hits = 0
    for image, answer in zip(images, answers, strict=True):
        assert list(answer) == ["path", "label", "labels", "probability", "known", "top", "error"]
        ranked = answer["top"]
        assert sorted(r["label"] for r in ranked) == CLASSES
        assert ranked[0] == {key: answer[key] for key in ("label", "probability")}
        probabilities = [r["probability"] for r in ranked]
        assert probabilities == sorted(probabilities, reverse=True)
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        hits += answer["label"] == image.parent.name
    assert hits / len(images) == read_result(trained(method)).test_accuracy


def test_a_line_an_image(arcvit: Arcvit, trained: Trained, photos: Path) -> None:
    image = photos / "test" / "red" / "red_00.png"
    answer = arcvit("predict", trained("arc"), image, image, "--top", 2)
    assert answer.code == 0
    one, other = answer.out.splitlines()
    assert one == other
    assert one.startswith(f"{image}  ")
    assert one.count("%") == 2


def test_a_console_of_few_letters(
    trained: Trained, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "\u732b.png"
    shutil.copy(photos / "test/red/red_00.png", image)
    bytes_written = io.BytesIO()
    console = io.TextIOWrapper(bytes_written, encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", console)
    assert main(["predict", str(trained("arc")), str(image)]) == 0
    console.flush()
    assert b"\\u732b.png" in bytes_written.getvalue()


def test_blank_images_are_named(arcvit: Arcvit, trained: Trained, tmp_path: Path) -> None:
    Image.new("RGB", (24, 24)).save(tmp_path / "night.png")
    answer = arcvit("predict", trained("arc"), tmp_path / "night.png")
    assert answer.code == 0
    assert f"warning: {tmp_path / 'night.png'} is blank" in answer.err


@pytest.mark.parametrize(("top", "count"), [(1, 1), (3, 3), (4, 4), (99, 4)])
def test_top(arcvit: Arcvit, trained: Trained, photos: Path, top: int, count: int) -> None:
    image = photos / "test" / "red" / "red_00.png"
    out = arcvit("predict", trained("arc"), image, "--top", top, "--json").out
    assert len(json.loads(out)["top"]) == count


@pytest.mark.parametrize("top", [0, -1])
def test_top_is_at_least_one(arcvit: Arcvit, trained: Trained, photos: Path, top: int) -> None:
    image = photos / "test" / "red" / "red_00.png"
    answer = arcvit("predict", trained("arc"), image, f"--top={top}")
    assert (answer.code, answer.out) == (2, "")
    assert f"--top {top} shows nothing: expected at least 1" in answer.err


@pytest.fixture
def album(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: three photos in two folders, notes, a broken one, an empty folder."""
    names = {"a/one.png": "red", "a/deep/two.png": "blue", "b/three four.png": "green"}
    for name, colour in names.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos / "test" / colour / f"{colour}_00.png", tmp_path / name)
    (tmp_path / "a" / "notes.txt").write_text("no image")
    (tmp_path / "broken.png").write_text("no image")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


DEEP, ONE, THREE = "a/deep/two.png", "a/one.png", "b/three four.png"


@pytest.mark.parametrize(
    ("given", "lines", "images", "told", "code"),
    [
        (["a"], "", [DEEP, ONE], [], 0),
        (["a", THREE], "", [DEEP, ONE, THREE], [], 0),
        (["a/*.png"], "", [ONE], [], 0),
        (["**/*.png"], "", [DEEP, ONE, THREE], ["broken.png: not an image"], 1),
        (["[ab]/**"], "", [DEEP, ONE, THREE], ["a/notes.txt: not an image"], 1),
        (["--list=list.txt"], f"{ONE}\r\n\n{THREE}\n", [ONE, THREE], [], 0),
        (["-"], f"{ONE}\n\n{THREE}\nb", [ONE, THREE, THREE], [], 0),
        ([THREE, "-"], f"{ONE}\nmissing.png\n", [THREE, ONE], ["missing.png: no such file"], 1),
        (["broken.png", ONE], "", [ONE], ["broken.png: not an image"], 1),
        (["empty", ONE, "no*.png"], "", [ONE], ["empty: there is no", "no*.png: there is no"], 1),
        (["x" * 300, ONE], "", [ONE], ["x: [Errno 36] File name too long"], 1),
        (["broken.png"], "", [], ["broken.png: not", "no image can be read"], 2),
        (["missing.png"], "", [], ["missing.png: no such file", "no image can be read"], 2),
        (["-"], "", [], ["no image can be read"], 2),
        (["empty"], "", [], ["empty: there is no image", "no image can be read"], 2),
        ([], "", [], ["no image is given: expected files, folders, patterns"], 2),
        (["--list=none.txt"], "", [], ["--list 'none.txt' can't be read: No such file"], 2),
        (["--list=a/one.png"], "", [], ["paths hold zero bytes: expected text with a path"], 2),
        (["-"], f"{ONE}\0{THREE}\0", [], ["paths hold zero bytes"], 2),
        (["--csv=none/out.csv", ONE], "", [], ["--csv 'none/out.csv' can't be written"], 2),
        (["--csv=a", ONE], "", [], ["--csv 'a' is a folder: expected the name of a file"], 2),
        (["--csv=", ONE], "", [], ["--csv '' can't be written: Is a directory"], 2),
        (["--csv=out.csv", "--threshold=nan", ONE], "", [], ["threshold is nan: expected"], 2),
    ],
)
def test_what_can_be_given(
    arcvit: Arcvit,
    trained: Trained,
    album: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: list[str],
    lines: str,
    images: list[str],
    told: list[str],
    code: int,
) -> None:
    (album / "list.txt").write_text(lines)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    before = sorted(album.rglob("*"))
    answer = arcvit("predict", trained("arc"), *given)
    assert sorted(album.rglob("*")) == before
    assert [line.split("  ")[0] for line in answer.out.splitlines()] == images
    for sentence in told:
        assert sentence in answer.err
    assert answer.code == code


def test_a_table(arcvit: Arcvit, trained: Trained, album: Path) -> None:
    command = ("predict", trained("arc"), "a", "broken.png", "--top=2")
    answer = arcvit(*command, "--csv=out.csv")
    assert (answer.code, answer.out) == (1, "")
    with open("out.csv", encoding="utf-8", newline="") as file:
        one, other, bad = csv.DictReader(file)
    further = ["label_2", "probability_2"]
    assert list(one) == ["path", "label", "probability", "known", "error", *further]
    assert (one["path"], other["path"], bad["path"]) == (DEEP, ONE, "broken.png")
    assert float(one["probability"]) >= float(one["probability_2"])
    assert one["label"] and not bad["label"] and "not an image" in bad["error"]
    assert arcvit(*command, "--csv=-").out == Path("out.csv").read_text()


@pytest.mark.slow
def test_results_come_before_standard_input_ends(trained: Trained, album: Path) -> None:
    command = [sys.executable, "-m", "arcvit.cli.main", "predict", str(trained("arc")), "-"]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, cwd=album) as process:
        for name in (ONE, DEEP):
            process.stdin.write(f"{name}\n".encode())
            process.stdin.flush()
            assert process.stdout.readline().startswith(name.encode())
        process.stdin.close()
        assert process.wait() == 0


@pytest.mark.parametrize("method", ["arc", "full"])
def test_an_adapter_alone(
    arcvit: Arcvit, trained: Trained, photos: Path, method: str, tmp_path: Path
) -> None:
    image = photos / "test" / "red" / "red_00.png"
    adapter = shutil.copytree(trained(method) / "adapter", tmp_path / "mine")
    answer = arcvit("predict", adapter, image)
    assert answer.code == 0
    assert answer.out == arcvit("predict", trained(method), image).out


def test_a_moved_or_other_backbone(
    arcvit: Arcvit, trained: Trained, photos: Path, other_tiny: Path
) -> None:
    image = photos / "test" / "red" / "red_00.png"
    answer = arcvit("predict", trained("arc"), image, "--backbone", other_tiny)
    assert answer.code == 2
    assert "the adapter was trained on" in answer.err
    assert arcvit("predict", trained("arc"), image, "--backbone", other_tiny, "--force").code == 0
