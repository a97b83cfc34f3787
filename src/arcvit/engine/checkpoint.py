"""Resume: the trained parameters, optimizer, schedule and random state at the end of an epoch."""

import shutil
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import nn

from arcvit.core.files import put_in_place, read_json, write_json

_TRAINED = "trained.safetensors"
_EPOCH = "epoch.json"


def precision_of(folder: Path) -> str | None:
    """The precision, in accelerate's words, of the run that left a checkpoint; None: there is none.

    What ``auto`` chose at first is kept: measured again, it might come out otherwise.
    """
    if not (folder / _EPOCH).is_file():
        return None
    precision: str | None = read_json(folder / _EPOCH).get("precision")
    return precision


class Checkpoint:
    """A folder to resume from, written whole at the end of an epoch.

    accelerate saves optimizer, schedule and random state; of the model only what is trained is
    kept: an adapter's checkpoint is as small as the adapter.

    Args:
        folder: where it lies.
        accelerator: with model, optimizer and scheduler prepared.
        model: the model as it was before accelerate prepared it.
    """

    def __init__(self, folder: Path, accelerator: Accelerator, model: nn.Module) -> None:
        self.folder = folder
        self._accelerator = accelerator
        self._trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        accelerator.register_save_state_pre_hook(self._save_trained)
        accelerator.register_load_state_pre_hook(self._load_trained)

    def exists(self) -> bool:
        """Whether there is something to resume from."""
        return (self.folder / _EPOCH).is_file()

    def save(self, history: list[dict[str, Any]]) -> None:
        """Save the state after an epoch, together with the records of all epochs so far.

        Every process saves its random state into one folder, which the main one puts in place.
        """
        partial = self.folder.with_name(f".{self.folder.name}.partial-shared")
        main = self._accelerator.is_main_process
        if main:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        self._accelerator.wait_for_everyone()
        self._accelerator.save_state(str(partial))
        self._accelerator.wait_for_everyone()
        if main:
            precision = self._accelerator.mixed_precision
            write_json(partial / _EPOCH, {"history": history, "precision": precision})
            put_in_place(partial, self.folder)
        self._accelerator.wait_for_everyone()

    def load(self) -> list[dict[str, Any]]:
        """Bring the state back; the records of the epochs done."""
        self._accelerator.load_state(str(self.folder))
        history: list[dict[str, Any]] = read_json(self.folder / _EPOCH)["history"]
        return history

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
        for name, parameter in self._trained.items():
            parameter.copy_(state[name])
