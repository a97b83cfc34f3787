"""Resume: the trained parameters, optimizer, schedule and random state at the end of an epoch.

``checkpoint/epoch-7/`` is written beside and renamed, so it is whole or not there. A disk may still
damage it: the one before is kept, and a checksum of each file tells which of them is good.
"""

import shutil
import zlib
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import nn

from arcvit.core.errors import UserError
from arcvit.core.files import disk_errors, put_in_place, read_json, write_json
from arcvit.engine.groups import adapter_parameters

_TRAINED = "trained.safetensors"
_EPOCH = "epoch.json"
_CHECKSUMS = "checksums.json"
_KEPT = 2
_BLOCK = 1 << 20


def checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the oldest first; damaged ones among them."""
    found = [path for path in folder.glob("epoch-*") if path.name[6:].isdecimal()]
    return sorted(found, key=epoch_of)


class Checkpoints:
    """The checkpoints of a run; made before anything else is, it finds the newest good one.

    accelerate saves optimizer, schedule and random state; of the model only what is trained is
    kept: an adapter's checkpoint is as small as the adapter.

    Args:
        folder: where they lie.

    Attributes:
        newest: the last one that is whole; None: there is nothing to resume from.
        damaged: a sentence about each that is newer and can't be used.
        settings: what the run found out by itself and must find again, as the precision that
            ``auto`` came to: measured once more, it might come out otherwise. Those of the newest
            checkpoint to begin with; saved with each.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.newest: Path | None = None
        self.damaged: list[str] = []
        self.settings: dict[str, Any] = {}
        for checkpoint in reversed(checkpoints_in(folder)):
            try:
                self.settings = _verified(checkpoint)["settings"]
            except UserError as error:
                self.damaged.append(str(error))
            else:
                self.newest = checkpoint
                break

    def attach(self, accelerator: Accelerator, model: nn.Module) -> None:
        """Tell whose state is saved and loaded.

        Args:
            accelerator: with model, optimizer and scheduler prepared.
            model: the model as it was before accelerate prepared it.
        """
        self._accelerator = accelerator
        # Projections that stay as they start may have been made from images.
        adapters = set(map(id, adapter_parameters(model)))
        self._trained = {
            n: p for n, p in model.named_parameters() if p.requires_grad or id(p) in adapters
        }
        accelerator.register_save_state_pre_hook(self._save_trained)
        accelerator.register_load_state_pre_hook(self._load_trained)

    def save(self, history: list[dict[str, Any]]) -> None:
        """Save the state after an epoch, together with the records of all epochs so far.

        Every process saves its random state into one folder, which the main one puts in place.

        Raises:
            OSError: the disk doesn't take it; the checkpoints before it stay.
        """
        target = self.folder / f"epoch-{len(history)}"
        partial = target.with_name(f".{target.name}.partial-shared")
        main = self._accelerator.is_main_process
        if main:
            shutil.rmtree(partial, ignore_errors=True)
            self.folder.mkdir(exist_ok=True)  # a run folder that was removed isn't made again
            partial.mkdir()
        self._accelerator.wait_for_everyone()
        with disk_errors(target):
            self._accelerator.save_state(str(partial))
        self._accelerator.wait_for_everyone()
        if main:
            write_json(partial / _EPOCH, {"history": history, "settings": self.settings})
            write_json(partial / _CHECKSUMS, _checksums(partial))
            shutil.rmtree(target, ignore_errors=True)  # a damaged one, or it wouldn't come again
            put_in_place(partial, target)
            self._forget(len(history))
        self.newest = target
        self._accelerator.wait_for_everyone()

    def load(self) -> list[dict[str, Any]]:
        """Bring the newest state back; the records of the epochs done.

        Raises:
            UserError: it is another model's, or was written by another version.
        """
        assert self.newest is not None
        try:
            self._accelerator.load_state(str(self.newest))
        except (KeyError, ValueError, RuntimeError) as error:
            raise UserError(
                f"{self.newest} doesn't fit this model ({' '.join(str(error).split())[:120]}):"
                f" remove {self.folder} to begin again, or go on with the version of arcvit and its"
                " libraries that wrote it."
            ) from error
        history: list[dict[str, Any]] = read_json(self.newest / _EPOCH)["history"]
        return history

    def _forget(self, epoch: int) -> None:
        """Remove all but the last ones; a later epoch is a damaged one that will come again."""
        there = checkpoints_in(self.folder)
        kept = [checkpoint for checkpoint in there if epoch_of(checkpoint) <= epoch][-_KEPT:]
        for checkpoint in there:
            if checkpoint not in kept:
                shutil.rmtree(checkpoint, ignore_errors=True)

    def _save_trained(
        self, models: list[nn.Module], weights: list[dict[str, Any]], folder: str
    ) -> None:
        del models
        weights.clear()
        if self._accelerator.is_main_process:
            state = {n: p.detach().cpu().contiguous() for n, p in self._trained.items()}
            save_file(state, Path(folder) / _TRAINED)

    @torch.no_grad()
    def _load_trained(self, models: list[nn.Module], folder: str) -> None:
        models.clear()
        state = load_file(Path(folder) / _TRAINED)
        if set(state) != set(self._trained):
            raise ValueError(f"{sorted(set(state) ^ set(self._trained))[0]} is trained in one only")
        for name, parameter in self._trained.items():
            if state[name].shape != parameter.shape:  # a copy would spread what is smaller
                raise ValueError(f"{name} is {tuple(state[name].shape)} in it")
            parameter.copy_(state[name])


def _verified(checkpoint: Path) -> dict[str, Any]:
    """The record of a checkpoint whose files are all there, byte by byte.

    Raises:
        UserError: names what is damaged.
    """
    try:
        checksums = read_json(checkpoint / _CHECKSUMS)
        if _EPOCH not in checksums:
            raise UserError(f"{checkpoint / _CHECKSUMS} is damaged")
        for name, checksum in checksums.items():
            if _checksum(checkpoint / name) != checksum:
                raise UserError(f"{checkpoint / name} is damaged")
        return read_json(checkpoint / _EPOCH)
    except OSError as error:
        raise UserError(f"{error.filename} can't be read ({error.strerror})") from error


def _checksums(checkpoint: Path) -> dict[str, int]:
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file())
    return {file.relative_to(checkpoint).as_posix(): _checksum(file) for file in files}


def _checksum(file: Path) -> int:
    checksum = 0
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            checksum = zlib.crc32(block, checksum)
    return checksum


def epoch_of(checkpoint: Path) -> int:
    """The epoch at whose end a checkpoint was written."""
    return int(checkpoint.name[6:])
