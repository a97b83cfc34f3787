"""Build a backbone with a fresh head."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import timm.data
import torch
from torch import nn

from arcvit.backbones.checkpoint import read_checkpoint
from arcvit.backbones.hub import build_from_hub
from arcvit.backbones.npz import load_npz
from arcvit.backbones.source import Source, resolve_source
from arcvit.backbones.transformers_model import (
    TransformersSource,
    build_classifier,
    classifier_data_config,
    classifier_head,
)
from arcvit.core.errors import UserError

_OTHER_SETTINGS = {
    "img_size": "image_size",
    "drop_path_rate": "drop_path",
    "pretrained": "weights",
    "checkpoint_path": "weights",
}
_NOT_ARGUMENTS = (
    "model_name",
    "num_classes",
    "in_chans",
    "features_only",
    "out_indices",
    "feature_cfg",
    "pretrained_cfg",
    "pretrained_cfg_overlay",
    "pretrained_strict",
    "pretrained_filter_fn",
    "pretrained_custom_load",
    "pretrained_model_args",
    "cache_dir",
    "scriptable",
    "exportable",
    "no_jit",
)
"""What timm's constructors take that isn't of the architecture."""


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A pretrained model with a fresh head.

    Attributes:
        name: what was asked for.
        model: of timm or transformers; its head has one output a class and starts at zero.
        head: qualified name of the head in the model.
        data_config: timm's data config: input size, interpolation, mean, std, crop; ``refused``
            says why where a model has an input size alone.
        commit: of the repository on the hub, where the name is that of one.
    """

    name: str
    model: nn.Module
    head: str
    data_config: dict[str, Any]
    commit: str | None = None

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the input in pixels."""
        _, height, width = self.data_config["input_size"]
        return height, width


def build_backbone(
    name: str,
    *,
    num_classes: int,
    weights: str = "pretrained",
    seed: int = 0,
    image_size: int | None = None,
    drop_path: float = 0.0,
    arguments: Mapping[str, Any] | None = None,
    commit: str | None = None,
) -> Backbone:
    """Build a backbone with a head that starts at zero, as in the paper.

    Args:
        name: what :func:`resolve_source` knows.
        num_classes: outputs of the head.
        weights: ``pretrained`` (the source's own), ``random``, or a local ``.safetensors`` or
            ``.pth`` file.
        seed: what random weights are drawn from; the global generator stays as it is.
        image_size: edge of the input in pixels; None: the backbone's own. Position embeddings are
            interpolated.
        drop_path: stochastic depth of the backbone while training.
        arguments: of its constructor in timm, or entries of its config in transformers.
        commit: of a model on the hub, whatever its name says.

    Raises:
        UserError: the name or file isn't known or doesn't fit, or the hub can't be reached.
    """
    source = resolve_source(name, commit=commit)
    if isinstance(source, TransformersSource):
        model = build_classifier(
            source,
            num_classes=num_classes,
            weights=weights,
            seed=seed,
            drop_path=drop_path,
            arguments=arguments or {},
        )
        head, data_config = classifier_head(model, name), classifier_data_config(source, model)
        own_size = data_config["input_size"][1:]
        if image_size is not None and own_size != (image_size, image_size):
            raise UserError(
                f"image_size is {image_size}: models of transformers keep their own, and {name!r}"
                f" has {own_size[0]} x {own_size[1]}."
            )
    else:
        _check_arguments(arguments or {})
        model = _build_timm(
            source,
            name,
            {**(arguments or {}), "num_classes": num_classes},
            weights=weights,
            seed=seed,
            image_size=image_size,
            drop_path=drop_path,
        )
        head = head_name(model)
        data_config = timm.data.resolve_model_data_config(model)
        if image_size is not None:
            # timm's record is that of the weights.
            data_config["input_size"] = (3, image_size, image_size)
    _zero(model.get_submodule(head), name)
    return Backbone(
        name=name, model=model, head=head, data_config=data_config, commit=source.commit
    )


def _build_timm(
    source: Source,
    name: str,
    arguments: dict[str, Any],
    *,
    weights: str,
    seed: int,
    image_size: int | None,
    drop_path: float,
) -> nn.Module:
    arguments = {**source.arguments, **arguments}
    if image_size is not None:
        arguments["img_size"] = image_size
    if drop_path:
        arguments["drop_path_rate"] = drop_path
    file = source.file if weights in ("pretrained", "random") else Path(weights).expanduser()
    from_hub = weights == "pretrained" and file is None
    if file is not None and not file.is_file():
        raise UserError(f"weights file {str(file)!r} isn't there.")
    try:
        if from_hub:
            model = build_from_hub(source.architecture, **arguments)
        else:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(seed)
                model = timm.create_model(
                    source.architecture, pretrained_cfg=source.pretrained_cfg, **arguments
                )
    except (MemoryError, OSError, UserError):
        raise
    # Whatever an argument may be, timm's constructors calculate with it.
    except Exception as error:
        given = ", ".join(f"{k}={v}" for k, v in arguments.items() if k != "num_classes")
        why = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
        raise UserError(
            f"backbone {name!r} can't be built with {given or 'its defaults'}: {why}."
        ) from error
    _check_image_size(model, image_size)
    if not from_hub and weights != "random":
        assert file is not None
        load_weights(model, file)
    return model


def load_weights(model: nn.Module, file: Path) -> None:
    """Load a local file into a timm model; its head may have other classes and is left out then.

    Foreign names are mapped, and position embeddings and relative-bias tables interpolated to the
    model's input size, by timm's own filter of the model's family.

    Raises:
        UserError: the file can't be read, or names or shapes don't fit; all of them are counted.
    """
    if file.suffix == ".npz":
        load_npz(model, file)
        return
    state = read_checkpoint(file)
    family = sys.modules[type(model).__module__]
    if hasattr(family, "checkpoint_filter_fn"):
        state = family.checkpoint_filter_fn(state, model)
    own = model.state_dict()
    head = f"{head_name(model)}."
    for key in [k for k in state if k.startswith(head)]:
        if key not in own or own[key].shape != state[key].shape:
            del state[key]
    problems = {
        "missing": [k for k in own if not k.startswith(head) and k not in state],
        "unexpected": [k for k in state if k not in own],
        "wrong shape": [k for k in state if k in own and state[k].shape != own[k].shape],
    }
    if any(problems.values()):
        listed = "; ".join(f"{what}: {_some(keys)}" for what, keys in problems.items() if keys)
        raise UserError(f"{file.name} doesn't fit {type(model).__name__}: {listed}.")
    with torch.no_grad():
        for key, value in state.items():
            own[key].copy_(value)


def head_name(model: nn.Module) -> str:
    """Qualified name of a timm model's classifier."""
    classifier = model.get_classifier()  # type: ignore[operator]
    for name, module in model.named_modules():
        if module is classifier:
            return name
    raise UserError(f"{type(model).__name__} has no single classifier module to train.")


def _check_arguments(arguments: Mapping[str, Any]) -> None:
    """Leave to other settings what is theirs, and weights from elsewhere to nobody."""
    for key in arguments:
        if key in _OTHER_SETTINGS:
            raise UserError(
                f"backbone_args has the key {key!r}: expected --{_OTHER_SETTINGS[key]} for that."
            )
        if key in _NOT_ARGUMENTS:
            raise UserError(
                f"backbone_args has the key {key!r}: expected arguments of its architecture, as"
                " {global_pool: avg}."
            )


def _check_image_size(model: nn.Module, image_size: int | None) -> None:
    """Refuse a size of which timm would cut off a border without a word."""
    embed = getattr(model, "patch_embed", None)
    projection = getattr(embed, "proj", None)
    # Patches that overlap have a step that is smaller than they are.
    step = getattr(projection, "stride", None) or getattr(embed, "patch_size", None)
    if image_size is None or step is None or getattr(embed, "dynamic_img_pad", False):
        return
    patch = max(step) if isinstance(step, tuple) else int(step)
    below = image_size // patch * patch
    if below != image_size:
        nearest_sizes = " or ".join(str(size) for size in (below, below + patch) if size)
        raise UserError(
            f"image_size is {image_size}: expected a multiple of the patch of {patch} pixels, the"
            f" nearest of which is {nearest_sizes}."
        )


def _zero(head: nn.Module, name: str) -> None:
    if not isinstance(head, nn.Linear):
        raise UserError(f"the head of {name!r} is {type(head).__name__}: expected a linear layer.")
    nn.init.zeros_(head.weight)
    if head.bias is not None:
        nn.init.zeros_(head.bias)


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - 6} more" if len(keys) > 6 else ""
    return ", ".join(keys[:6]) + more
