import os
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
