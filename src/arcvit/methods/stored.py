"""An adapter's folder as a stranger may have filled it, checked before a model is touched.

Here stands what the files say by themselves and of one another; whether the weights are all of the
adapter, and nothing else, shows on a model (``arcvit.arc.state``).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from peft import PeftConfig
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from torch import Tensor

from arcvit.arc.config_file import check_config
from arcvit.core.errors import UserError, nearest
from arcvit.core.files import read_json
from arcvit.core.settings import shown
from arcvit.core.task import AdapterTask, read_task
from arcvit.methods.means import read_means
from arcvit.methods.small_file import load_small
from arcvit.methods.table import register_tuners

CONFIG_FILE = "adapter_config.json"
WHOLE_FILE = "model.safetensors"
ADAPTER_FILE: str = SAFETENSORS_WEIGHTS_NAME
WRAPPED = "base_model.model."
LOGITS = ("", "fc.", "out_proj.")
"""Where in a head the linear layer is that gives the logits, in timm and in transformers."""
_SIZES = ("r", "prompts", "num_classes")
_COUNTS = "num_batches_tracked"
"""The one entry of whole numbers: of a batch norm that is trained with the head."""


@dataclass(frozen=True, kw_only=True)
class StoredAdapter:
    """What an adapter folder holds.

    Attributes:
        folder: where it lies.
        task: what its outputs mean.
        config: PEFT's config; None where a model was trained whole.
        state: the weights, by their names in the file.
        means: the classes' mean features, (K, d); None where it isn't calibrated.
    """

    folder: Path
    task: AdapterTask
    config: PeftConfig | None
    state: dict[str, Tensor]
    means: Tensor | None


def read_stored(folder: Path) -> StoredAdapter:
    """Read an adapter folder; nothing in it is run, and nothing larger than its files is made.

    Raises:
        UserError: a file isn't there or is damaged, or they don't agree with one another.
    """
    task = read_task(folder)
    # A model that was trained whole brings all weights along.
    whole = (folder / WHOLE_FILE).is_file() and not (folder / CONFIG_FILE).is_file()
    file = folder / (WHOLE_FILE if whole else ADAPTER_FILE)
    state = _read_weights(file, whole=whole)
    if not whole:
        odd = [k for k, v in state.items() if not (v.is_floating_point() or k.endswith(_COUNTS))]
        if odd:
            raise UserError(f"{file}: {odd[0]} is {state[odd[0]].dtype}, expected floating point.")
    width = _check_head(file, state, task, "" if whole else WRAPPED)
    config = None if whole else _read_config(folder / CONFIG_FILE, task, state)
    means = None
    if task.calibration is not None:
        means = read_means(folder, labels=len(task.labels), width=width)
    return StoredAdapter(folder=folder, task=task, config=config, state=state, means=means)


def _read_weights(file: Path, *, whole: bool) -> dict[str, Tensor]:
    if not file.is_file():
        raise UserError(f"{file} isn't there: the adapter is damaged.")
    state: dict[str, Tensor]
    try:
        # What is as large as a model isn't held twice.
        state = safetensors.torch.load_file(file) if whole else load_small(file)
    except Exception as error:  # its own errors, torch's, and whatever an odd header leads to
        raise UserError(
            f"{file} is damaged: expected a safetensors file ({_short(error)})."
        ) from error
    broken = [k for k, v in state.items() if v.is_floating_point() and not _is_finite(v)]
    if broken:
        raise UserError(f"{file} holds values that are NaN or infinite, as in {broken[0]}.")
    return state


def _check_head(
    file: Path, state: Mapping[str, Tensor], task: AdapterTask, prefix: str
) -> int | None:
    """The head is there, with an output for each label; what it reads, where that shows."""
    head = f"{prefix}{task.head}."
    if not any(key.startswith(head) for key in state):
        raise UserError(
            f"{file} holds no head {shown(task.head)}, which the labels are of: the adapter is"
            " damaged, or was saved without its head."
        )
    for path in LOGITS:
        weight = state.get(f"{head}{path}weight", state.get(f"{head}{path}bias"))
        if weight is None:
            continue
        outputs = len(weight) if weight.ndim else 0
        if outputs != len(task.labels):
            raise UserError(
                f"{file}: the head {shown(task.head)} has {outputs:,} outputs, but there are"
                f" {len(task.labels):,} labels: expected one for each."
            )
        return weight.shape[1] if path == "" and weight.ndim == 2 else None
    return None


def _read_config(file: Path, task: AdapterTask, state: Mapping[str, Tensor]) -> PeftConfig:
    if not file.is_file():
        raise UserError(f"{file} isn't there: the adapter is damaged.")
    register_tuners()
    record = read_json(file)
    named = record.get("peft_type")
    kinds = {str.__str__(name): kind for name, kind in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    if not isinstance(named, str) or named not in kinds:
        raise UserError(
            f"{file}: peft_type is {shown(named)}: expected one of {', '.join(sorted(kinds))}."
            f"{nearest(str(named), kinds)}"
        )
    try:
        check_config(kinds[named], record)
        _check_sizes(record, state)
        if record.get("megatron_config") is not None:
            raise UserError("megatron_config names code to load: expected null.")
        config = kinds[named].from_pretrained(str(file.parent))
    except Exception as error:  # PEFT's configs raise what they like
        raise UserError(f"{file} is damaged: {_short(error)}") from error
    if config.is_prompt_learning:
        raise UserError(f"{file}: {named} prepends tokens to a language model: expected another.")
    if task.head not in (config.modules_to_save or ()):
        raise UserError(
            f"{file}: modules_to_save is {shown(config.modules_to_save)}: expected the head"
            f" {shown(task.head)} in it, or another's would be used."
        )
    return config


def _check_sizes(record: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
    """A size that the file has nowhere would be made first, and found not to fit then."""
    largest = max((max(value.shape, default=1) for value in state.values()), default=1)
    for key, size in _sizes(record):
        if isinstance(size, int) and size > largest:
            raise UserError(
                f"{key} is {size:,}, but no weight is longer than {largest:,}: expected the config"
                " that the weights were saved with."
            )


def _sizes(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from ((key, record.get(key)) for key in _SIZES)
    patterns = record.get("rank_pattern") or {}
    yield from ((f"rank_pattern of {shown(name)}", size) for name, size in patterns.items())


def _is_finite(value: Tensor) -> bool:
    # Not every kind of eight bits can be asked.
    return bool(torch.isfinite(value if value.element_size() > 1 else value.float()).all())


def _short(error: Exception) -> str:
    """What went wrong, in a line."""
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}."
