"""Turn a checkpoint of the authors into an adapter folder, and its backbone into a timm checkpoint.

The folder holds what PEFT loads; the backbone it needs is written beside it on request.
"""

from dataclasses import dataclass
from pathlib import Path

import timm
import timm.models
from peft import get_peft_model
from peft.utils import set_peft_model_state_dict
from torch import nn

from arcvit.arc.fingerprint import fingerprint
from arcvit.arc.register import ArcConfig
from arcvit.arc.state import check_state
from arcvit.backbones.checkpoint import read_checkpoint
from arcvit.backbones.official import OfficialCheckpoint, convert_official
from arcvit.core.errors import UserError
from arcvit.core.files import atomic_path
from arcvit.core.task import AdapterTask, TaskBackbone
from arcvit.data.pixels.preset import resolve_preset
from arcvit.recipe.adapter import write_adapter

_ARCHITECTURES = {
    (768, 12, 16): "vit_base_patch16_224",
    (1024, 24, 16): "vit_large_patch16_224",
    (1280, 32, 14): "vit_huge_patch14_224",
}


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import gave.

    Attributes:
        checkpoint: what the file held.
        architecture: the timm architecture it was put on.
        classes: number of classes of its head.
    """

    checkpoint: OfficialCheckpoint
    architecture: str
    classes: int


def import_official(
    file: Path,
    adapter: Path,
    *,
    heads: int | None = None,
    classes: list[str] | None = None,
    preset: str = "vtab",
    backbone: Path | None = None,
) -> Imported:
    """Convert an official file.

    Args:
        file: the authors' ``.bin`` or ``.pth``, read with ``weights_only=True``.
        adapter: the adapter folder to write.
        heads: attention heads of the ViT; None: one for every 64 features (80 for ViT-H), as in
            the original ViT. They leave no trace in the weights.
        classes: class names; None: numbers.
        preset: how images were prepared; the authors' VTAB-1k runs used ``vtab``.
        backbone: folder to write the backbone to, as a timm checkpoint; None: don't.

    Raises:
        UserError: the file doesn't fit, names are missing, or a target is taken.
    """
    for target in (adapter, backbone):
        if target is not None and target.exists() and any(target.iterdir()):
            raise UserError(f"{str(target)!r} is there already: choose another name or remove it.")
    checkpoint = convert_official(read_checkpoint(file))
    number = len(checkpoint.head["head.weight"])
    if classes is not None and len(classes) != number:
        raise UserError(f"{len(classes)} class names for a head of {number} classes.")
    architecture, model = _build(checkpoint, number, heads)
    state = {**checkpoint.backbone, **checkpoint.head}
    check_state(model.state_dict(), state)
    model.load_state_dict(state)
    mark = fingerprint(model, exclude=["head"])
    if backbone is not None:
        with atomic_path(backbone) as partial:
            timm.models.save_for_hf(model, str(partial), safe_serialization=True)
    config = ArcConfig(r=checkpoint.r, variant=checkpoint.variant, modules_to_save=["head"])  # type: ignore[arg-type]
    adapted = get_peft_model(model, config)
    set_peft_model_state_dict(
        adapted,
        {
            **checkpoint.adapter,
            **{f"base_model.model.{key}": value for key, value in checkpoint.head.items()},
        },
    )
    data_config = timm.data.resolve_model_data_config(model)
    _, height, width = data_config["input_size"]
    prep = resolve_preset(preset, input_size=(height, width), data_config=data_config)
    task = AdapterTask(
        labels=classes or [str(index) for index in range(number)],
        head="head",
        preprocessing=prep.to_dict(),
        backbone=TaskBackbone(
            name=architecture if backbone is None else str(backbone), fingerprint=mark
        ),
    )
    write_adapter(adapter, adapted, task)
    return Imported(checkpoint=checkpoint, architecture=architecture, classes=number)


def _build(
    checkpoint: OfficialCheckpoint, classes: int, heads: int | None
) -> tuple[str, nn.Module]:
    size = (checkpoint.width, checkpoint.depth, checkpoint.patch)
    name = _ARCHITECTURES.get(size, "vit_base_patch16_224")
    if heads is None:
        heads = checkpoint.width // (80 if checkpoint.width == 1280 else 64)
    if heads < 1 or checkpoint.width % heads:
        raise UserError(
            f"{heads} heads don't divide a width of {checkpoint.width}: give --heads of the ViT."
        )
    grid = round((checkpoint.tokens - 1) ** 0.5)
    hidden = len(checkpoint.backbone["blocks.0.mlp.fc1.weight"])
    model: nn.Module = timm.create_model(
        name,
        img_size=grid * checkpoint.patch,
        patch_size=checkpoint.patch,
        embed_dim=checkpoint.width,
        depth=checkpoint.depth,
        num_heads=heads,
        mlp_ratio=hidden / checkpoint.width,
        num_classes=classes,
    )
    return name, model
