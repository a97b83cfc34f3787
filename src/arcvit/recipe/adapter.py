"""The adapter folder: what was learned, and what prediction needs to know beside it.

ARC keeps classes, preprocessing and fingerprint in its own ``adapter_config.json``; the other
methods' PEFT configs have no room for them, and a ``task.json`` beside holds them. Full fine-tuning
has no adapter; its folder holds the whole model in timm's format.
"""

import dataclasses
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from peft import PeftModel
from peft.utils import get_peft_model_state_dict
from torch import nn

from arcvit.arc.config import PEFT_TYPE, ArcConfig
from arcvit.arc.fingerprint import check_fingerprint
from arcvit.backbones.build import load_weights
from arcvit.core.errors import UserError
from arcvit.core.files import atomic_path, write_json
from arcvit.data.preset import Preprocessing

ADAPTER_FOLDER = "adapter"
_CONFIG = "adapter_config.json"
_CARD = "task.json"
_FULL = "model.safetensors"


@dataclass(frozen=True, kw_only=True)
class TaskCard:
    """What prediction needs to know beside the weights.

    Attributes:
        classes: class names in the order of the logits.
        preprocessing: how images are prepared, as :class:`Preprocessing` writes itself.
        backbone: name of the backbone.
        backbone_fingerprint: fingerprint of its weights.
    """

    classes: list[str]
    preprocessing: dict[str, Any]
    backbone: str
    backbone_fingerprint: str

    @property
    def prep(self) -> Preprocessing:
        """How images are prepared."""
        return Preprocessing.from_dict(self.preprocessing)


def save_adapter(folder: Path, model: nn.Module, card: TaskCard) -> None:
    """Write what was learned with its card, atomically."""
    with atomic_path(folder) as partial:
        partial.mkdir()
        if not isinstance(model, PeftModel):
            safetensors.torch.save_file(
                {n: t.contiguous() for n, t in model.state_dict().items()}, partial / _FULL
            )
            write_json(partial / _CARD, dataclasses.asdict(card))
            return
        config = model.peft_config["default"]
        if isinstance(config, ArcConfig):
            for name, value in dataclasses.asdict(card).items():
                setattr(config, name, value)
        else:
            write_json(partial / _CARD, dataclasses.asdict(card))
        model.save_pretrained(partial)


def adapter_size(model: nn.Module, head: str) -> int:
    """Size in bytes of what was learned without the head, as a safetensors file."""
    if isinstance(model, PeftModel):
        state = get_peft_model_state_dict(model)
    else:
        state = model.state_dict()
    kept = {n: t.contiguous() for n, t in state.items() if f".{head}." not in f".{n}"}
    return len(safetensors.torch.save(kept)) if kept else 0


def load_adapter(
    model: nn.Module, head: str, folder: Path, card: TaskCard, *, force: bool = False
) -> nn.Module:
    """Put what was learned onto a freshly built backbone, ready for inference.

    Args:
        model: the backbone.
        head: name of its head.
        folder: the adapter folder.
        card: its card.
        force: load onto weights other than those the adapter was trained on.

    Raises:
        UserError: it was trained on another backbone.
    """
    if not (folder / _CONFIG).is_file():
        load_weights(model, folder / _FULL)
        return model.eval()
    if not force:
        check_fingerprint(
            model, card.backbone_fingerprint, backbone=card.backbone, exclude=[head]
        )
    kwargs: dict[str, Any] = {}
    if force and _peft_type(folder) == PEFT_TYPE:
        config = ArcConfig.from_pretrained(str(folder))
        config.backbone_fingerprint = None
        kwargs["config"] = config
    with warnings.catch_warnings():
        # The linear probe and bias tuning have no LoRA layer, which PEFT points out.
        warnings.filterwarnings("ignore", message=".*missing adapter keys.*")
        adapted: nn.Module = PeftModel.from_pretrained(model, str(folder), **kwargs)
    return adapted.eval()


def read_card(folder: Path) -> TaskCard:
    """The card of an adapter folder.

    Raises:
        UserError: the folder isn't an adapter with classes and preprocessing.
    """
    names = [field.name for field in dataclasses.fields(TaskCard)]
    for file in (folder / _CARD, folder / _CONFIG):
        if file.is_file():
            record = json.loads(file.read_text(encoding="utf-8"))
            if all(record.get(name) is not None for name in names):
                return TaskCard(**{name: record[name] for name in names})
    raise UserError(
        f"{str(folder)!r} is not an adapter that arcvit trained: expected {_CONFIG} or {_CARD} with"
        f" {', '.join(names)}."
    )


def _peft_type(folder: Path) -> str:
    record = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    return str(record["peft_type"])
