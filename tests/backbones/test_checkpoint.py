import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from arcvit.backbones.checkpoint import read_checkpoint
from arcvit.core.errors import UserError

STATE = {"a.weight": torch.arange(4.0).reshape(2, 2), "a.count": torch.tensor(3)}


class Command:
    """A pickle that runs a command when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> object:
        return os.system, (f"touch {self.marker}",)


def half(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k: v.half() if v.is_floating_point() else v for k, v in state.items()}


SAVED: dict[str, Callable[[Path], None]] = {
    "a.safetensors": lambda f: save_file(STATE, f),
    "half.safetensors": lambda f: save_file(half(STATE), f),
    "a.pth": lambda f: torch.save(STATE, f),
    "a.pt": lambda f: torch.save({"model": STATE, "epoch": 3}, f),
    "a.bin": lambda f: torch.save({"state_dict": {f"module.{k}": v for k, v in STATE.items()}}, f),
    "old.pth": lambda f: torch.save(STATE, f, _use_new_zipfile_serialization=False),
}


@pytest.mark.parametrize("name", SAVED)
def test_formats(tmp_path: Path, name: str) -> None:
    SAVED[name](tmp_path / name)
    state = read_checkpoint(tmp_path / name)
    assert sorted(state) == sorted(STATE)
    for key, value in STATE.items():
        assert state[key].dtype == value.dtype
        assert torch.equal(state[key], value)


def cut(save: Callable[[Path], None], file: Path) -> None:
    save(file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


DAMAGED: dict[str, Callable[[Path], object]] = {
    "empty.pth": lambda f: f.write_bytes(b""),
    "garbage.pth": lambda f: f.write_bytes(b"garbage"),
    "text.pth": lambda f: f.write_text("hello, this is text\n" * 9),
    "zip.pth": lambda f: f.write_bytes(b"PK\x03\x04" + b"x" * 50),
    "bytes.bin": lambda f: f.write_bytes(bytes(range(256))),
    "cut.pth": lambda f: cut(SAVED["a.pth"], f),
    "cut_old.pth": lambda f: cut(SAVED["old.pth"], f),
    "module.pth": lambda f: torch.save(torch.nn.Linear(2, 2), f),
    "empty.safetensors": lambda f: f.write_bytes(b""),
    "garbage.safetensors": lambda f: f.write_bytes(b"garbage garbage"),
    "header.safetensors": lambda f: f.write_bytes(b"\x10" + b"\0" * 7 + b"{broken json...}"),
    "cut.safetensors": lambda f: cut(SAVED["a.safetensors"], f),
    "command.pth": lambda f: f.write_bytes(pickle.dumps(Command(f.with_name("ran")))),
    "command_zip.pth": lambda f: torch.save({"model": Command(f.with_name("ran"))}, f),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_or_foreign_files_are_refused_and_never_run(tmp_path: Path, name: str) -> None:
    DAMAGED[name](tmp_path / name)
    with pytest.raises(UserError) as caught:
        read_checkpoint(tmp_path / name)
    assert f"{name} can't be read as weights: expected a whole .safetensors" in str(caught.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, {}, {"model": {}}])
def test_no_state_dict(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth holds no state dict: expected names mapped"):
        read_checkpoint(tmp_path / "a.pth")


def test_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "a.pth", tmp_path):
        with pytest.raises(UserError, match="isn't there"):
            read_checkpoint(path)
