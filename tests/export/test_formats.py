"""What is asked of an export is refused before anything is loaded."""

from pathlib import Path
from typing import Any

import pytest

from arcvit.core.errors import UserError
from arcvit.export.formats import FORMATS, Flag, Format, check_export, flags_of_all

MADE = {
    "file": Format(
        name="file",
        help="",
        writer="none:none",
        suffix=".x",
        flags=(
            Flag(name="way", help="", choices=("a", "b"), makes_folder=True),
            Flag(name="small", help="", is_switch=True),
        ),
    ),
    "folder": Format(name="folder", help="", writer="none:none", several=True),
}


@pytest.mark.parametrize(
    ("format", "out", "runs", "flags", "sentence"),
    [
        ("timn", "m", 1, {}, "no format 'timn': expected timm, .* Did you mean 'timm'"),
        ("timm", "m", 2, {}, "2 runs for the format timm: expected one, or onnx or web or folder"),
        ("timm", "m", 1, {"small": True}, "timm has no 'small': it is a setting of file"),
        ("file", "m.x", 1, {"smal": True}, "no 'smal': there is no such .* Did you mean 'small'"),
        ("file", "m.x", 1, {"way": "c"}, "way is 'c': expected a or b"),
        ("file", "m.y", 1, {}, r"expected a file for the format file, NAME\.x"),
        ("file", "taken.x", 1, {}, r"taken\.x' is there already: choose another --out"),
        ("folder", "full", 2, {}, "full' is there already: choose another --out or remove it"),
        ("timm", "m.safetensors", 1, {}, "writes a folder here, not a file"),
        ("file", "m.zip", 1, {"way": "a"}, "writes a folder here, not a file"),
    ],
)
def test_refused(
    format: str,
    out: str,
    runs: int,
    flags: dict[str, Any],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, form in MADE.items():
        monkeypatch.setitem(FORMATS, name, form)
    (tmp_path / "taken.x").touch()
    (tmp_path / "full" / "inner").mkdir(parents=True)
    with pytest.raises(UserError, match=sentence):
        check_export(tmp_path / out, format=format, runs=runs, flags=flags)


def test_every_writer_is_there() -> None:
    for form in FORMATS.values():
        assert callable(form.write), form.name
    assert all(flag.help for flag, _ in flags_of_all().values())
