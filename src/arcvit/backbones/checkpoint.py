"""Read foreign weight files: safetensors, or pickles with ``weights_only=True``."""

import warnings
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from arcvit.core.errors import UserError

_WRAPPERS = ("state_dict", "model", "model_state_dict", "module")


def read_checkpoint(file: Path) -> dict[str, Tensor]:
    """The state dict in a file, floating-point values in single precision.

    A pickle may hold it under one of the usual keys (``model``, ``state_dict``); names may carry
    ``module.`` from data-parallel training.

    Raises:
        UserError: the file isn't there, can't be read safely, or holds no state dict.
    """
    if not file.is_file():
        raise UserError(f"weights file {str(file)!r} isn't there.")
    try:
        if file.suffix == ".safetensors":
            loaded = load_file(file)
        else:
            with warnings.catch_warnings():
                # About pickles of other kinds, which are refused anyway.
                warnings.simplefilter("ignore")
                loaded = torch.load(file, map_location="cpu", weights_only=True)
    except (MemoryError, OSError):
        raise
    # A file that isn't a pickle can make the unpickler raise nearly anything.
    except Exception as error:
        raise UserError(
            f"{file.name} can't be read as weights: expected a whole .safetensors file, or a torch"
            " pickle that holds tensors and no other Python objects (those could run code)."
        ) from error
    for wrapper in _WRAPPERS:
        if isinstance(loaded, dict) and isinstance(loaded.get(wrapper), dict):
            loaded = loaded[wrapper]
            break
    if not isinstance(loaded, dict) or not any(isinstance(v, Tensor) for v in loaded.values()):
        raise UserError(f"{file.name} holds no state dict: expected names mapped to tensors.")
    return {
        str(key).removeprefix("module."): value.float() if value.is_floating_point() else value
        for key, value in loaded.items()
        if isinstance(value, Tensor)
    }
