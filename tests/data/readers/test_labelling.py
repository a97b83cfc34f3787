"""Tables of images with several labels: how they are read, and those that can't be."""

import re
from pathlib import Path
from typing import Any

import pytest

from arcvit.core.errors import UserError
from arcvit.data.readers.layouts import open_task, read_task
from arcvit.data.readers.reader import Opening
from arcvit.data.task import ImageTask

JOINT = """path,label,split
a.jpg,sky | sea,train
b.jpg,,train
c.jpg,tree,train
d.jpg,tree|sea|tree,val
"""
FLAGS = """path,sea,sky,tree,split
a.jpg,1,1,0,train
b.jpg,0,,0,train
c.jpg,False,0.0,TRUE,train
d.jpg,1.0,0,1,val
"""
FURTHER = "path,sea,sky,place\na.jpg,1,0,Rome\nb.jpg,0,1,Oslo\nc.jpg,1,1,Rome\nd.jpg,0,1,Oslo\n"


def write(root: Path, text: str) -> Path:
    for stem in "abcdef":
        (root / f"{stem}.jpg").touch()
    (root / "photos.csv").write_text(text)
    return root / "photos.csv"


def read(file: Path, **settings: Any) -> ImageTask:
    held = {"val_fraction": 0.0, "test_fraction": 0.0}
    return open_task(file, Opening(**{**held, "kind": "multilabel", **settings}))


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        (JOINT, {}),
        (JOINT.replace("|", ";"), {"label_delimiter": ";"}),
        (JOINT.replace("label", "tags"), {"label_column": "tags"}),
        (FLAGS, {}),
        (FLAGS.replace("path", "Path"), {"label_columns": ["tree", "sky", "Sea"]}),
        (FLAGS.replace("\n", "\r\n"), {}),
        # What programs write: a column of numbers without a name.
        ("\n".join(f"{n},{line}" for n, line in enumerate(FLAGS.split())).replace("0", "", 1), {}),
    ],
)
def test_the_same_labels_in_every_form(tmp_path: Path, text: str, settings: dict[str, Any]) -> None:
    task = read(write(tmp_path, text), **settings)
    assert (task.kind, task.classes) == ("multilabel", ("sea", "sky", "tree"))
    assert task.split("train").label_sets == ((0, 1), (), (2,))
    assert task.split("val").label_sets == ((0, 2),)


def test_a_column_is_the_same_however_its_accents_are_composed(tmp_path: Path) -> None:
    table = write(tmp_path, FURTHER.replace("sea", "caf\u00e9"))
    assert read(table, label_columns=["cafe\u0301", "sky"]).classes == ("caf\u00e9", "sky")


def test_columns_of_flags_are_of_tables_alone(tmp_path: Path) -> None:
    (tmp_path / "sea").mkdir()
    with pytest.raises(UserError, match="expected a table, leave --data"):
        read(tmp_path, label_columns=["sea"])


def test_further_columns_are_kept(tmp_path: Path) -> None:
    task = read(write(tmp_path, FURTHER), label_columns=["sea", "sky"])
    assert task.classes == ("sea", "sky")
    assert list(task.further) == ["place"]


@pytest.mark.parametrize(
    ("text", "settings", "sentence"),
    [
        (
            "path,label,sea,sky\na.jpg,x|y,1,0\n",
            {},
            r"in 2 ways \('label' may hold the labels; or sea, sky, of 0 and 1, may be .*"
            r"--data.label_column label or --data.label_columns sea,sky[.]",
        ),
        (
            "path,label,tags\na.jpg,x,p|q\nb.jpg,y,p\n",
            {},
            r"\('label' or 'tags' may hold .*label_column label or --data.label_column tags[.]",
        ),
        (FURTHER, {}, "1 .sea, sky. and others .place.: .*_columns sea,sky, .*--data.label_column"),
        (
            FURTHER.replace("sky", '"sky, high"'),
            {},
            r"""--data.label_columns '\["sea", "sky, high"\]', or which""",
        ),
        (
            """path,label\na.jpg,"['x', 'y']"\nb.jpg,['y']\n""",
            {"label_delimiter": ","},
            r"""written as a list, as in "\['x','y'\]": expected them without .* as a,b[.]""",
        ),
        ("path,label\na.jpg,[]\nb.jpg,x|y\n", {}, "written as a list, as in '..'"),
        (
            FLAGS.replace("TRUE", "2"),
            {},
            "has '2' in the column 'tree': expected 0 or 1 if it is a class.*columns sea,sky[.]",
        ),
        (
            "path,sea,sky\na.jpg,0,0.5\nb.jpg,0.5,0\n",
            {},
            "has '0.5' in the column 'sea': expected 0 or 1 if it is a class, .*label_columns[.]",
        ),
        ("path,tags\na.jpg,x|y\nb.jpg,y\n", {}, "'label'.* as with --data.label_column tags[.]"),
        ("file,sea,sky\na.jpg,1,0\nb.jpg,0,1\n", {}, "no column 'path'.*path_column file[.]$"),
        ("a.jpg,1,0\nb.jpg,0,1\n", {}, "no line that names its columns"),
        (
            "path,is_train,sea\na.jpg,1,0\nb.jpg,0,1\n",
            {},
            "splits in the column 'is_train'.*name the classes with --data.label_columns",
        ),
        (FLAGS, {"kind": "single"}, "0 and 1 for each class .*, or give --task multilabel if an"),
        (
            FLAGS,
            {"label_columns": ["see"]},
            "no column 'see'.*some of sea, sky, tree, .*mean 'sea'",
        ),
        (FLAGS, {"label_columns": ["sea", "sea"]}, "more than one column 'sea'"),
        (
            FURTHER,
            {"label_columns": ["sea", "place"]},
            "line 2 has 'Rome' in the column 'place': e",
        ),
        (FLAGS, {"label_columns": ["sea"], "label_column": "sky"}, "one of the two settings"),
        (FLAGS, {"label_columns": ["sea"], "kind": "single"}, "give --task multilabel with it"),
        (FLAGS.replace("TRUE", "0"), {}, "1 class.es. with no image in train.*'tree'"),
        (FLAGS.replace("sky", "s|ky"), {}, "with '|' in their names.*rename them: 's|ky'"),
        (JOINT, {"label_delimiter": ""}, "label_delimiter is empty"),
        (JOINT + "a.jpg,sea,train\n", {}, "lines 2 and 6: .* its labels into one cell, as a|b"),
        (JOINT.replace("|", ","), {}, "line 2 has 4 values"),
    ],
)
def test_tables_that_are_refused(
    tmp_path: Path, text: str, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        read(write(tmp_path, text), **settings)


@pytest.mark.parametrize(
    ("text", "settings", "told"),
    [
        (
            JOINT.replace("b.jpg,,", "b.jpg,sea,"),
            {"kind": "single"},
            "--task multilabel splits the",
        ),
        (JOINT.replace("|", ";"), {}, "no cell is split at '|', say .*--data.label_delimiter"),
        (JOINT, {}, None),
    ],
)
def test_cells_that_look_like_several_labels(
    tmp_path: Path, text: str, settings: dict[str, Any], told: str | None
) -> None:
    found = read_task(write(tmp_path, text), Opening(**{"kind": "multilabel", **settings}))
    sentences = [finding.text for finding in found.findings if finding.kind == "joint-labels"]
    assert len(sentences) == (told is not None)
    assert told is None or re.search(re.escape(told).replace(r"\.\*", ".*"), sentences[0])
