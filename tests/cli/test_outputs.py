import os
import sys
from pathlib import Path

import pytest

from arcvit.cli.outputs import spare
from arcvit.core.errors import UserError


def test_what_is_read_is_not_written_over(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("path,label\n")
    link = tmp_path / "link.csv"
    os.link(table, link)
    for name in (table, link, tmp_path / "." / "labels.csv"):
        with pytest.raises(UserError, match=r"--csv '.*\.csv' would be written over what is read"):
            spare([str(name), None], csv=table)
    spare([table, "photos/*.jpg", "hf:cifar100", "x" * 5000], csv=tmp_path / "new.csv", page=None)
    spare([tmp_path], csv=table)  # a folder may well get a file
    with pytest.raises(UserError, match=r"--csv .* is a folder: expected the name of a file"):
        spare([], csv=tmp_path)


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        (("predict", "run"), "csv"),
        (("embed", "run"), "out"),
        (("data", "next", "--run=run"), "csv"),
        (("data", "suspects"), "csv"),
        (("data", "suspects"), "page"),
    ],
)
def test_every_command_spares_what_it_reads(
    arcvit: object, tmp_path: Path, command: tuple[str, ...], flag: str
) -> None:
    file = tmp_path / "mine.npz"
    file.write_text("path,label\n")
    answer = arcvit(*command, file, f"--{flag}={file}")  # type: ignore[operator]
    assert (answer.code, file.read_text()) == (2, "path,label\n")
    assert f"--{flag} " in answer.err and "over what is read" in answer.err


@pytest.mark.skipif(sys.platform != "linux", reason="in /proc not even the superuser can write")
@pytest.mark.parametrize(
    ("command", "flag", "name"),
    [
        ("train {photos} --backbone={tiny} --method=linear --quiet", "out", "run"),
        ("bench {suite} --data.root={photos} --methods=linear --search=none", "out", "runs"),
        ("demo", "out", "demo"),
        ("compare one other", "csv", "changed.csv"),
        ("embed run {photos}", "out", "features.npz"),
        ("merge run", "out", "plain"),
        ("import theirs.pth", "out", "adapter"),
        ("import theirs.pth --out=adapter", "backbone_out", "backbone"),
        ("data make shapes", "out", "made"),
        ("data prepare vtab cifar --source=hf:cifar100", "out", "vtab"),
        ("data prepare fgvc OxfordFlowers --source={photos}", "out", "fgvc"),
        ("data suspects {photos}", "csv", "suspects.csv"),
        ("data suspects {photos}", "page", "suspects.html"),
        ("data next {photos} --run=run", "csv", "next.csv"),
    ],
)
def test_where_nothing_can_be_written_is_told_first(
    arcvit: object, photos: Path, tiny: Path, tmp_path: Path, command: str, flag: str, name: str
) -> None:
    suite = tmp_path / "mine.yaml"
    suite.write_text("tasks: [{name: colours, path: colours, group: mine}]")
    parts = command.format(photos=photos, tiny=tiny, suite=suite).split()
    answer = arcvit(*parts, f"--{flag}=/proc/x/{name}")  # type: ignore[operator]
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == (
        f"arcvit: --{flag} '/proc/x/{name}' can't be written (No such file or directory): choose"
        " another place.\n"
    )
