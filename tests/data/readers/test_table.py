from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.data.readers.layouts import open_task, read_task
from arcvit.data.readers.reader import Opening
from arcvit.data.task import ImageTask


def write(root: Path, text: str, *, name: str = "birds.csv", images: str = "abcdef") -> Path:
    (root / "img").mkdir(exist_ok=True)
    for stem in images:
        (root / "img" / f"{stem}.jpg").touch()
    (root / name).write_text(text, encoding="utf-8")
    return root / name


def listed(task: ImageTask, split: str) -> list[tuple[str, str]]:
    chosen = task.split(split)
    return [
        (path.stem, task.classes[label])
        for path, label in zip(chosen.paths, chosen.labels, strict=True)
    ]


SPLIT_TABLE = """path,label,split
img/a.jpg,owl,train
img/b.jpg,"emu, young",Train
img/c.jpg,owl,validation

img/d.jpg,"emu, young",TEST
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("birds.csv", SPLIT_TABLE),
        ("birds.CSV", "\ufeff" + SPLIT_TABLE),
        ("birds.csv", SPLIT_TABLE.replace("\n", "\r\n")),
        ("birds.csv", "\n,,\n" + SPLIT_TABLE),
        ("birds.tsv", SPLIT_TABLE.replace('"emu, young"', "emu; young").replace(",", "\t")),
    ],
)
def test_the_table_says_the_splits(tmp_path: Path, name: str, text: str) -> None:
    task = open_task(write(tmp_path, text, name=name))
    emu = "emu; young" if name.endswith("tsv") else "emu, young"
    assert (task.name, task.layout, task.root) == ("birds", "table", tmp_path)
    assert task.classes == (emu, "owl")
    assert list(task.splits) == ["train", "val", "test"]
    assert listed(task, "train") == [("a", "owl"), ("b", emu)]
    assert listed(task, "val") == [("c", "owl")]
    assert listed(task, "test") == [("d", emu)]
    assert task.split("train").paths[0] == tmp_path / "img/a.jpg"


def test_further_columns_of_some_values_are_kept(tmp_path: Path) -> None:
    text = "path,label,split,camera,who,made\n"
    splits = ("train", "train", "val", "test")
    for stem, split, camera in zip("abcd", splits, ("left", "right", "", "left"), strict=True):
        text += f"img/{stem}.jpg,{'owl' if stem in 'ac' else 'emu'},{split},{camera},me,\n"
    further = open_task(write(tmp_path, text)).further
    assert list(further) == ["camera"]
    assert [path.stem for path in further["camera"]] == ["a", "b", "d"]


def test_without_a_split_column_the_images_are_divided(tmp_path: Path) -> None:
    rows = [
        f"img/{stem}.jpg,{label}"
        for label, stems in (("x", "abcde"), ("y", "fghij"))
        for stem in stems
    ]
    first = open_task(write(tmp_path, "\n".join(["path,label", *rows]), images="abcdefghij"))
    again = open_task(write(tmp_path, "\n".join(["path,label", *rows[::-1]])))
    assert {name: len(split) for name, split in first.splits.items()} == {
        "train": 6,
        "val": 2,
        "test": 2,
    }
    for name in first.splits:
        assert sorted(listed(first, name)) == sorted(listed(again, name))
        assert {label for _, label in listed(first, name)} == {"x", "y"}


def test_val_is_held_out_of_train(tmp_path: Path) -> None:
    rows = ["img/a.jpg,x,train", "img/b.jpg,x,train", "img/c.jpg,y,train", "img/d.jpg,x,test"]
    task = open_task(
        write(tmp_path, "\n".join(["path,label,split", *rows])), Opening(val_fraction=0.5)
    )
    assert {name: len(split) for name, split in task.splits.items()} == {
        "train": 2,
        "val": 1,
        "test": 1,
    }


def test_columns_by_other_names_and_absolute_paths(tmp_path: Path) -> None:
    rows = [f"1,{tmp_path}/img/a.jpg,train", f"2,{tmp_path}/img/b.jpg,train"]
    file = write(tmp_path, "\n".join(["kind, file ,fold", *rows]))
    task = open_task(file, Opening(path_column="file", label_column="kind", split_column="fold"))
    assert listed(task, "train") == [("a", "1"), ("b", "2")]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (("10", "9", "10"), ("9", "10")),
        (("-1", "2", "10"), ("-1", "2", "10")),
        (("10", "9", "x"), ("10", "9", "x")),
        (("b", "C", "a"), ("C", "a", "b")),
        (("cafe\u0301", "owl", "caf\u00e9"), ("caf\u00e9", "owl")),
    ],
)
def test_the_order_of_classes(tmp_path: Path, labels: tuple[str, ...], classes: object) -> None:
    rows = [f"img/{stem}.jpg,{label}" for stem, label in zip("abc", labels, strict=True)]
    file = write(tmp_path, "\n".join(["path,label", *rows]))
    assert open_task(file, Opening(val_fraction=0, test_fraction=0)).classes == classes


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no column 'path': its columns are none"),
        ("file,label\n", "no column 'path': its columns are 'file', 'label'"),
        ("path,labels\n", "no column 'label': .* to use[.] Did you mean 'labels'"),
        ("path,label\nimg/a.jpg,x\nimg/b.jpg,X\nimg/c.jpg,x\n", "'X' = 'x'"),
        ("path,label\nimg/a.jpg,x y\nimg/b.jpg,xy\nimg/c.jpg,xy\n", "'x y' = 'xy'"),
        *(
            (f"path,label\nimg/a.jpg,x\nimg/b.jpg,{name}\nimg/c.jpg,x\n", "stands for a missing")
            for name in ("nan", "NaN", "null", "None", "N/A", "<NA>")
        ),
        ("path,label\nimg/a.jpg,x\nimg/b.jpg,y\n", "one image of each of its 2 classes"),
        (
            "filename,category\nimg/a.jpg,x\nimg/b.jpg,y\nimg/c.jpg,x\nimg/d.jpg,x\n",
            "with --data.path_column filename --data.label_column category[.]",
        ),
        (
            "path,kind,id\nimg/a.jpg,x,1\nimg/b.jpg,x,2\nimg/c.jpg,y,3\nimg/d.jpg,y,4\n",
            "as with --data.label_column kind[.]",
        ),
        ("img/a.jpg,x\nimg/b.jpg,y\n", "no line that names its columns, .*put a line path,label"),
        ("path,x,y\nimg/a.jpg,1,0\nimg/b.jpg,0,1\n", "0 and 1 for each class .x, y.*label_column"),
        ("path,label\nimg/a,x\nimg/b,x\nimg/c,y\n", "write their names in full, as a.jpg"),
        ("path,label\nimg\\a.jpg,x\nimg\\b.jpg,y\nimg\\c.jpg,y\n", "are those of Windows"),
        ("path,label,set\nimg/a.jpg,x,train\nimg/b.jpg,y,Test\n", "with --data.split_column 'set'"),
        (
            "path,label,is_valid\nimg/a.jpg,x,True\nimg/b.jpg,y,False\n",
            "splits in the column 'is_v",
        ),
        ("path,label,Usage\nimg/a.jpg,x,Training\nimg/b.jpg,y,PublicTest\n", "column 'Usage' that"),
        ("path,label,label\n", "more than one column 'label'"),
        ("path,label\n", "at least 2, found none"),
        ("path,label\nimg/a.jpg,x\n", "at least 2, found only 'x'"),
        ("path,label\nimg/a.jpg,x\nimg/b.jpg,\n", "line 3 has an empty 'label'"),
        ("path,label\nimg/a.jpg,x\nimg/b.jpg\n", "line 3 has an empty 'label'"),
        ("path,label\n\n,x\n", "line 3 has an empty 'path'"),
        ("path,label\nimg/a.jpg,x,y\n", "line 2 has 3 values: expected 2"),
        ('path,label\nimg/a.jpg,"x\n', "line 2 can't be read"),
        ("path,label\nimg/a.jpg,x\nimg/./a.jpg,y\n", "a.jpg in lines 2 and 3"),
        ("path,label\nimg/a.jpg,x\nimg/q.jpg,y\nimg/r.jpg,y", "lists 2 .*q.jpg, .*r.jpg"),
        ("path,label,split\nimg/a.jpg,x,trian\n", "line 2 has the split 'trian'.*'train'"),
        ("path,label,split\nimg/a.jpg,x,\n", "line 2 has the split ''"),
        ("path,label,split\nimg/a.jpg,x,train\nimg/b.jpg,y,test\n", "no image in train.*'y'"),
        ("path,label,split\nimg/a.jpg,x,val\nimg/b.jpg,y,test\n", "no image in train.*'x', 'y'"),
    ],
)
def test_wrong_tables(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        open_task(write(tmp_path, text))


def test_a_split_column_asked_for_must_be_there(tmp_path: Path) -> None:
    file = write(tmp_path, "path,label\nimg/a.jpg,x\n")
    with pytest.raises(UserError, match="no column 'fold'"):
        open_task(file, Opening(split_column="fold"))


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
@pytest.mark.parametrize("header", ["path label split", "Path LABEL Split"])
@pytest.mark.parametrize("name", ["birds.csv", "birds.tsv"])
def test_separators_and_the_case_of_columns(
    tmp_path: Path, sign: str, header: str, name: str
) -> None:
    rows = [
        header,
        *(f"img/{stem}.jpg {label} train" for stem, label in zip("abcd", "xyxy", strict=True)),
    ]
    rows += ["img/e.jpg x test", "img/f.jpg y Validation"]
    task = open_task(write(tmp_path, "\n".join(rows).replace(" ", sign), name=name))
    assert {split: len(images) for split, images in task.splits.items()} == {
        "train": 4,
        "val": 1,
        "test": 1,
    }


@pytest.mark.parametrize(
    ("header", "named"), [("path,label,Fold", True), ("path,label,room", False)]
)
def test_a_column_that_may_be_of_splits_is_named(tmp_path: Path, header: str, named: bool) -> None:
    rows = [f"img/{stem}.jpg,{label},{stem}" for stem, label in zip("abcd", "xxyy", strict=True)]
    reading = read_task(write(tmp_path, "\n".join([header, *rows])), Opening())
    assert ("unread-column" in [finding.kind for finding in reading.findings]) is named


def test_the_separator_is_the_one_that_gives_paths(tmp_path: Path) -> None:
    text = 'path;label;"notes, free"\nimg/a.jpg;"owl, young";x\nimg/b.jpg;emu;\n'
    task = open_task(write(tmp_path, text), Opening(val_fraction=0, test_fraction=0))
    assert task.classes == ("emu", "owl, young")


def test_rows_can_be_ignored(tmp_path: Path) -> None:
    rows = [f"img/{stem}.jpg,{label}" for stem, label in zip("abcdef", "xxyyzz", strict=True)]
    file = write(tmp_path, "\n".join(["path,label", *rows]))
    task = open_task(file, Opening(ignore=["img/[ef].jpg"], test_fraction=0, val_fraction=0))
    assert task.classes == ("x", "y")


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes("path,label\nÄ.jpg,x".encode("latin-1"))
    with pytest.raises(UserError, match="isn't UTF-8"):
        open_task(file)
