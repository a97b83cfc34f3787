import os
from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.core.writable import check_writable, check_writable_folders


def test_a_place_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    good = [tmp_path, tmp_path / "file", tmp_path / "new", tmp_path / "pipe"]
    for place in good:
        check_writable(out=place)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "pipe"]
    with pytest.raises(UserError, match=r"--csv .*: .*/file is a file, expected a folder"):
        check_writable(csv=tmp_path / "file" / "a.csv")
    with pytest.raises(UserError, match=r"--out .*/file is a file, expected a folder"):
        check_writable_folders(out=tmp_path / "file")
