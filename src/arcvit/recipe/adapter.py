"""The adapter folder: what was learned, and what prediction needs to know beside it.

A ``task.json`` beside PEFT's files holds classes, preprocessing and the backbone. Full fine-tuning
has no adapter; its folder holds the whole model in timm's format.
"""

import dataclasses
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from peft import PeftModel
from peft.utils import SAFETENSORS_WEIGHTS_NAME, get_peft_model_state_dict
from safetensors import SafetensorError
from torch import nn

import arcvit.baselines.register  # noqa: F401  PEFT knows them
from arcvit.arc.fingerprint import check_fingerprint, fingerprint
from arcvit.arc.register import PEFT_TYPE, ArcConfig
from arcvit.backbones.build import Backbone, load_weights
from arcvit.core.errors import UserError
from arcvit.core.files import atomic_path, read_json, write_json
from arcvit.core.result import RunResult
from arcvit.data.pixels.preset import Preprocessing
from arcvit.recipe.model_card import write_model_card

CONFIG_FILE = "adapter_config.json"
CARD_FILE = "task.json"
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


def save_adapter(
    folder: Path, model: nn.Module, card: TaskCard, result: RunResult | None = None
) -> None:
    """Write what was learned with its card, atomically.

    Args:
        folder: the adapter folder.
        model: the adapted model.
        card: what prediction needs to know.
        result: what came out, for the model card.
    """
    with atomic_path(folder) as partial:
        partial.mkdir()
        write_json(partial / CARD_FILE, dataclasses.asdict(card))
        if not isinstance(model, PeftModel):
            safetensors.torch.save_file(
                {n: t.contiguous() for n, t in model.state_dict().items()}, partial / _FULL
            )
            return
        config = model.peft_config["default"]
        if isinstance(config, ArcConfig):
            config.num_classes = len(card.classes)
            config.backbone_fingerprint = card.backbone_fingerprint
        model.save_pretrained(partial)
        if isinstance(config, ArcConfig):
            write_model_card(partial, config, card, result)


def adapter_size(model: nn.Module, head: str) -> int:
    """Size in bytes of what was learned without the head, as a safetensors file."""
    whole = not isinstance(model, PeftModel)
    state = model.state_dict() if whole else get_peft_model_state_dict(model)
    kept = {n: t.contiguous() for n, t in state.items() if f".{head}." not in f".{n}"}
    return len(safetensors.torch.save(kept)) if kept else 0


def is_full_model(folder: Path) -> bool:
    """Whether an adapter folder holds a whole model: full fine-tuning."""
    return (folder / _FULL).is_file() and not (folder / CONFIG_FILE).is_file()


def load_adapter(
    backbone: Backbone, folder: Path, card: TaskCard, *, force: bool = False
) -> nn.Module:
    """Put what was learned onto a freshly built backbone, ready for inference.

    Args:
        backbone: what it was trained on, freshly built.
        folder: the adapter folder.
        card: its card.
        force: load onto weights other than those the adapter was trained on.

    Raises:
        UserError: it was trained on another backbone, or its files are damaged.
    """
    model = backbone.model
    if is_full_model(folder):
        load_weights(model, folder / _FULL)
        return model.eval()
    weights = folder / SAFETENSORS_WEIGHTS_NAME
    if not weights.is_file():
        raise UserError(f"{weights} isn't there: the adapter is damaged.")
    if not force:
        _check_backbone(backbone, card)
    kwargs: dict[str, Any] = {}
    if force and _peft_type(folder) == PEFT_TYPE:
        config = ArcConfig.from_pretrained(str(folder))
        config.backbone_fingerprint = None
        kwargs["config"] = config
    with warnings.catch_warnings():
        # The linear probe and bias tuning have no LoRA layer, which PEFT points out.
        warnings.filterwarnings("ignore", message=".*missing adapter keys.*")
        # PEFT's own LayerNorm tuning meets LayerNorms, which another part of it doesn't expect.
        warnings.filterwarnings("ignore", message="Unsupported layer type")
        try:
            adapted: nn.Module = PeftModel.from_pretrained(model, str(folder), **kwargs)
        except UserError:
            raise
        except (RuntimeError, SafetensorError, ValueError) as error:
            raise UserError(
                f"the adapter in {folder} doesn't fit {backbone.name!r} or is damaged:"
                f" {' '.join(str(error).split())[:300]}."
            ) from error
    return adapted.eval()


def read_card(folder: Path) -> TaskCard:
    """The card of an adapter folder.

    Raises:
        UserError: the folder isn't an adapter with classes and preprocessing.
    """
    names = [field.name for field in dataclasses.fields(TaskCard)]
    file = folder / CARD_FILE
    record = read_json(file) if file.is_file() else {}
    if any(record.get(name) is None for name in names):
        raise UserError(
            f"{str(folder)!r} is not an adapter that arcvit trained: expected {CARD_FILE} with"
            f" {', '.join(names)}."
        )
    return TaskCard(**{name: record[name] for name in names})


def _peft_type(folder: Path) -> str:
    return str(read_json(folder / CONFIG_FILE)["peft_type"])


def _check_backbone(backbone: Backbone, card: TaskCard) -> None:
    """Name both backbones where the weights aren't those the adapter was trained on."""
    exclude = [backbone.head]
    try:
        check_fingerprint(backbone.model, card.backbone_fingerprint, exclude=exclude)
    except UserError as error:
        found = fingerprint(backbone.model, exclude=exclude)
        raise UserError(
            f"the adapter was trained on {card.backbone!r} ({card.backbone_fingerprint}), but"
            f" {backbone.name!r} has other weights ({found}): give that backbone with --backbone,"
            " or --force to try it all the same."
        ) from error
