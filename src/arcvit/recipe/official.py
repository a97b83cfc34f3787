"""Turn a checkpoint of the authors into an adapter folder, and its backbone into a timm checkpoint.

The folder holds what PEFT loads; the backbone it needs is written beside it on request.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
import timm.models
from peft import get_peft_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from torch import nn

from arcvit.arc.fingerprint import fingerprint, is_same
from arcvit.arc.register import ArcConfig
from arcvit.arc.state import check_state
from arcvit.backbones.build import Backbone, build_backbone, head_name
from arcvit.backbones.checkpoint import read_checkpoint
from arcvit.backbones.official import convert_official
from arcvit.backbones.official_checkpoint import WRAPPED, OfficialCheckpoint
from arcvit.core.errors import UserError
from arcvit.core.files import atomic_path
from arcvit.core.task import AdapterTask, TaskBackbone
from arcvit.data.pixels.preset import resolve_preset
from arcvit.recipe.adapter import write_adapter


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import gave.

    Attributes:
        checkpoint: what the file held.
        classes: number of classes of its head.
    """

    checkpoint: OfficialCheckpoint
    classes: int


def import_official(
    file: Path,
    adapter: Path,
    *,
    heads: int | None = None,
    classes: list[str] | None = None,
    preset: str = "vtab",
    backbone: str | None = None,
    backbone_out: Path | None = None,
) -> Imported:
    """Convert an official file.

    Args:
        file: the authors' ``.bin`` or ``.pth``, read with ``weights_only=True``.
        adapter: the adapter folder to write.
        heads: attention heads of a ViT; None: one for every 64 features (80 for ViT-H), as in the
            original ViT. They leave no trace in its weights.
        classes: class names; None: numbers.
        preset: how images were prepared; the authors' VTAB-1k runs used ``vtab``.
        backbone: the backbone that it was trained on, as ``--backbone`` takes it elsewhere, which
            must have the same weights; None: only the architecture is known.
        backbone_out: folder to write the backbone to, as a timm checkpoint; None: don't.

    Raises:
        UserError: the file doesn't fit, it was trained on another backbone, names are missing, a
            target is taken, or the backbone would be written into the adapter's folder.
    """
    if backbone is not None and backbone_out is not None:
        raise UserError("a backbone to take and one to write: give --backbone or --backbone_out.")
    for target in (adapter, backbone_out):
        if target is not None and target.exists() and any(target.iterdir()):
            raise UserError(f"{str(target)!r} is there already: choose another name or remove it.")
    if backbone_out is not None and adapter.resolve() in (
        backbone_out.resolve(),
        *backbone_out.resolve().parents,
    ):
        raise UserError(
            f"--backbone_out {str(backbone_out)!r} is in --out {str(adapter)!r}, which is put in"
            " place whole: expected two folders."
        )
    checkpoint = convert_official(read_checkpoint(file), heads=heads)
    number = len(checkpoint.head["weight"])
    if classes is not None and len(classes) != number:
        raise UserError(f"{len(classes)} class names for a head of {number} classes.")
    model: nn.Module = timm.create_model(
        checkpoint.architecture, **checkpoint.arguments, num_classes=number
    )
    head = head_name(model)
    own_head = {f"{head}.{kind}": value for kind, value in checkpoint.head.items()}
    state = {**checkpoint.backbone, **own_head}
    check_state(model.state_dict(), state)
    model.load_state_dict(state)
    mark = fingerprint(model, exclude=[head])
    data_config = timm.data.resolve_model_data_config(model)
    edge = checkpoint.arguments["img_size"]
    at = TaskBackbone(name=checkpoint.architecture, fingerprint=mark)
    if backbone is not None:
        known = _known(backbone, checkpoint, classes=number, mark=mark)
        data_config = known.data_config
        at = replace(at, name=backbone, commit=known.commit)
    if data_config["input_size"] != (3, edge, edge):
        at = replace(at, image_size=edge)
    if backbone_out is not None:
        at = TaskBackbone(name=str(backbone_out), fingerprint=mark)
        with atomic_path(backbone_out) as partial:
            timm.models.save_for_hf(
                model, str(partial), model_args=checkpoint.arguments, safe_serialization=True
            )
    arc: dict[str, Any] = {
        "variant": checkpoint.variant,
        "ffn_placement": checkpoint.ffn_placement,
    }
    adapted = get_peft_model(model, ArcConfig(r=checkpoint.r, **arc, modules_to_save=[head]))
    learned = checkpoint.adapter | {f"{WRAPPED}{key}": v for key, v in own_head.items()}
    check_state(get_peft_model_state_dict(adapted), learned)
    set_peft_model_state_dict(adapted, learned)
    prep = resolve_preset(preset, input_size=(edge, edge), data_config=data_config)
    task = AdapterTask(
        labels=classes or [str(index) for index in range(number)],
        head=head,
        preprocessing=prep.to_dict(),
        backbone=at,
    )
    write_adapter(adapter, adapted, task)
    return Imported(checkpoint=checkpoint, classes=number)


def _known(name: str, checkpoint: OfficialCheckpoint, *, classes: int, mark: str) -> Backbone:
    """The backbone of a name, which must be the one in a checkpoint."""
    known = build_backbone(name, num_classes=classes)
    found = fingerprint(known.model, exclude=[known.head])
    if not is_same(found, mark):
        has_other_layers = found.partition("-")[0] != mark.partition("-")[0]
        kind = f"a {type(known.model).__name__} of other layers" if has_other_layers else "one"
        raise UserError(
            f"the checkpoint holds a {checkpoint.architecture}, and {name!r} is {kind} with other"
            " weights: expected the backbone that it was trained on, or --backbone_out to write it."
        )
    return known
