"""Build an image classifier of transformers with a fresh head."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from arcvit.backbones.checkpoint import read_checkpoint
from arcvit.backbones.hub import fetch_file, offline_if_unreachable
from arcvit.backbones.processor import data_config_of
from arcvit.backbones.quiet import ignore_old_name, quiet_transformers
from arcvit.core.errors import UserError, nearest
from arcvit.core.extras import require

_NOT_ARGUMENTS = (
    "_name_or_path",
    "architectures",
    "auto_map",
    "dtype",
    "id2label",
    "label2id",
    "model_type",
    "num_labels",
    "quantization_config",
    "torch_dtype",
    "transformers_version",
)
_IN_TIMM = {"vit_mae": "vit_base_patch16_224.mae", "dinov3_vit": "vit_base_patch16_dinov3.lvd1689m"}
"""Models without a classifier in transformers that timm has, by their type."""


@dataclass(frozen=True, kw_only=True)
class TransformersSource:
    """Where a model of transformers lies.

    Attributes:
        name: what was asked for.
        place: a folder, or ``USER/NAME`` on the hub.
        commit: of the repository; None: a folder.
    """

    name: str
    place: str
    commit: str | None = None


def build_classifier(
    source: TransformersSource,
    *,
    num_classes: int,
    weights: str,
    seed: int,
    drop_path: float,
    arguments: Mapping[str, Any],
) -> nn.Module:
    """A classifier whose weights, but for the head's, are the source's.

    Args:
        source: where it lies.
        num_classes: outputs of the head.
        weights: ``pretrained``, ``random``, or a local file.
        seed: what random weights are drawn from.
        drop_path: stochastic depth while training.
        arguments: entries of its config to change.

    Raises:
        UserError: it isn't a classifier of images, or its weights don't fit.
    """
    ignore_old_name()
    config, kind = _config(
        source, num_classes=num_classes, drop_path=drop_path, arguments=arguments
    )
    wanted: dict[str, Any] = {"config": config, "dtype": torch.float32}
    try:
        with quiet_transformers(), offline_if_unreachable():
            if weights == "random":
                with torch.random.fork_rng(devices=[]):
                    torch.default_generator.manual_seed(seed)
                    model: nn.Module = kind._from_config(**wanted)
                return model
            place: str | None = source.place
            if weights != "pretrained":
                place, wanted["state_dict"] = None, read_checkpoint(Path(weights).expanduser())
            model, found = kind.from_pretrained(
                place,
                revision=source.commit or "main",
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **wanted,
            )
    except UserError:
        raise
    # Whatever a config may say fails somewhere in the model it describes.
    except Exception as error:
        if weights == "pretrained":
            _check_reached(source, "model.safetensors")
        raise UserError(
            f"backbone {source.name!r} can't be built: {_one_line(error)}; give its weights with"
            " --weights FILE, or --weights random."
        ) from error
    _check_loaded(model, found, source.name if weights == "pretrained" else Path(weights).name)
    return model


def classifier_head(model: nn.Module, name: str) -> str:
    """Qualified name of the linear layer that gives a classifier's logits.

    Raises:
        UserError: there is no single one.
    """
    found = [
        layer
        for layer, module in model.named_modules()
        if layer.split(".")[0] == "classifier" and isinstance(module, nn.Linear)
    ]
    if len(found) != 1:
        raise UserError(f"{name!r} has no single linear classifier to train.")
    return found[0]


def classifier_data_config(source: TransformersSource, model: nn.Module) -> dict[str, Any]:
    """Size and preprocessing of a classifier's images, as timm's data config.

    Where its processor isn't there, or does what can't be said so, ``refused`` says why.
    """
    from transformers import AutoImageProcessor

    try:
        with quiet_transformers(), offline_if_unreachable():
            processor = AutoImageProcessor.from_pretrained(
                source.place,
                revision=source.commit or "main",
                backend="pil",
                trust_remote_code=False,
            )
        return data_config_of(processor)
    except UserError as error:
        why = str(error)
    # The processor's file may be missing or hold anything.
    except Exception:
        try:
            _check_reached(source, "preprocessor_config.json")
            why = (
                f"{source.name!r} has no image processor that transformers can read: choose a"
                " preprocessing, as --data.preset vtab."
            )
        except UserError as error:
            why = str(error)
    size: Any = getattr(_vision_config(model.config), "image_size", None)
    pair = (size, size) if isinstance(size, int) else tuple(size or ())
    if len(pair) != 2:
        raise UserError(f"{source.name!r} doesn't say the size of its images: {why}")
    return {"input_size": (3, *pair), "refused": why}


def _check_reached(source: TransformersSource, file: str) -> None:
    """Say so where it was the hub that didn't give a file: transformers calls that missing.

    Raises:
        UserError: the hub can't be reached or refuses.
    """
    if source.commit is not None:
        fetch_file(source.place, file, source.commit)


def is_transformers_config(record: Mapping[str, Any]) -> bool:
    """Whether a ``config.json`` is of a model of transformers rather than timm's."""
    return "architecture" not in record and ("model_type" in record or "architectures" in record)


def _config(
    source: TransformersSource, *, num_classes: int, drop_path: float, arguments: Mapping[str, Any]
) -> tuple[Any, Any]:
    """The model's config, with as many labels, and the class of its classifier."""
    require("transformers", f"backbone {source.name!r}")
    from transformers import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING, AutoConfig

    try:
        with quiet_transformers(), offline_if_unreachable():
            config: Any = AutoConfig.from_pretrained(
                source.place, revision=source.commit or "main", trust_remote_code=False
            )
    except Exception as error:
        raise UserError(
            f"{source.name!r} is no model that transformers knows: {_one_line(error)}."
        ) from error
    if type(config) not in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        timm_name = _IN_TIMM.get(config.model_type)
        instead = f"; timm has one: --backbone {timm_name}" if timm_name else ""
        raise UserError(
            f"transformers has no image classifier for {source.name!r}, whose type is"
            f" {config.model_type!r}{instead}."
        )
    if drop_path:
        arguments = {**arguments, "drop_path_rate": drop_path}
    known = [key for key in config.to_dict() if key not in _NOT_ARGUMENTS]
    for key, value in arguments.items():
        if key not in known:
            raise UserError(
                f"{key!r} is no setting of {source.name!r}: expected an entry of its config.json."
                f"{nearest(key, known)}"
            )
        try:
            setattr(config, key, value)
        except Exception as error:  # configs check what they are given, each in its way
            raise UserError(f"{key} can't be {value!r}: {_one_line(error)}.") from error
    config.num_labels = num_classes
    classes = MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING[type(config)]
    # Of several the first has one head; others are DeiT's and LeViT's with their teacher's.
    first = classes[0] if isinstance(classes, (tuple, list)) else classes
    return config, first


def _check_loaded(model: nn.Module, found: Mapping[str, Any], name: str) -> None:
    """Refuse weights that lack more than the head: layers of the backbone would be random."""
    own = dict(model.named_parameters())
    mismatched = [key[0] if isinstance(key, tuple) else key for key in found["mismatched_keys"]]
    lacking = [
        key
        for key in sorted({*found["missing_keys"], *mismatched})
        # A norm that isn't in the file starts as the identity.
        if key.split(".")[0] != "classifier" and key in own and own[key].ndim > 1
    ]
    if lacking:
        raise UserError(
            f"{name!r} doesn't fit {type(model).__name__}: it lacks {len(lacking)} of its weights,"
            f" such as {lacking[0]}."
        )


def _vision_config(config: Any) -> Any:
    return getattr(config, "vision_config", config)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".")
