"""Write a plain model of timm, and check that timm gives the same logits from it."""

import json
from collections.abc import Sequence
from pathlib import Path

import timm
import timm.models
from torch import nn

from arcvit.backbones.crop_pct import crop_pct
from arcvit.core.errors import UserError
from arcvit.core.files import write_json
from arcvit.core.shown import python_text
from arcvit.data.pixels.preset import Preprocessing
from arcvit.export.adapted import AdaptedModel, Written, logits_on
from arcvit.export.lost import lost_in_plain_model
from arcvit.export.transformers_folder import is_transformers_model

WEIGHTS, CONFIG = "model.safetensors", "config.json"
_LOADING = """\
import timm
model = timm.create_model({place}, pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))"""


def write_timm(runs: Sequence[AdaptedModel], out: Path) -> Written:
    """Write the folded model as a folder in timm's format, read it back with timm, and compare.

    transformers reads the folder as well, as a model of its timm wrapper.

    Raises:
        UserError: the backbone isn't timm's, the adapter can't be folded, timm can't build what
            comes of it, or the logits differ.
    """
    (run,) = runs
    if is_transformers_model(run.base):
        raise UserError(
            f"{run.task.backbone.name!r} is a model of transformers: expected --format transformers"
            " for it."
        )
    folded = run.folded()
    # The name that transformers has for it.
    several = {"problem_type": "multi_label_classification"}
    timm.models.save_for_hf(
        folded,
        str(out),
        model_config={
            "label_names": run.labels,
            **(several if run.task.kind == "multilabel" else {}),
        },
        # Folding gives a bias to layers that were built without: they must be built with it.
        model_args={"qkv_bias": True} if _has_bias(folded) and not _has_bias(run.base) else None,
        safe_serialization=True,
        data_config=timm_data_config(run.preprocessing),
    )
    _keep_num_classes_once(out / CONFIG)
    try:
        reloaded = timm.create_model(f"local-dir:{out}", pretrained=True)
    except (RuntimeError, TypeError) as error:
        raise UserError(
            f"timm can't build {type(folded).__name__} with what folding put into it"
            f" ({' '.join(str(error).split())[:200]}): use --format torch or onnx."
        ) from error
    return Written(
        difference=run.compare(
            logits_on(reloaded, run.images), "the folded model in timm", advice=_advice(folded)
        ),
        loading=lambda place: _LOADING.format(place=python_text(f"local-dir:{place}")),
        notes=lost_in_plain_model(run.task, run.preprocessing),
    )


def timm_data_config(prep: Preprocessing) -> dict[str, object]:
    """A preprocessing as timm records it."""
    return {
        "input_size": (3, *prep.size),
        "interpolation": prep.interpolation,
        "mean": prep.mean,
        "std": prep.std,
        "crop_pct": 1.0 if prep.resize == "squash" else crop_pct(min(prep.size), prep.resize_size),
        "crop_mode": "center" if prep.resize == "shortest" else "squash",
    }


def _advice(folded: nn.Module) -> str:
    """EVA-02's bias of keys isn't among its weights: what folding puts there is lost."""
    if any(name.endswith("k_bias") for name, _ in folded.named_buffers()):
        return "timm keeps no bias of keys, which folding gave: use --format torch or onnx"
    return "please report this"


def _has_bias(model: nn.Module) -> bool:
    """Whether a projection to query, key and value has a bias; adapters may be around it."""
    names = (name.replace("base_layer.", "") for name in model.state_dict())
    return any(name.endswith("qkv.bias") for name in names)


def _keep_num_classes_once(file: Path) -> None:
    """Take it out of the constructor's arguments, where transformers' timm wrapper stumbles."""
    record = json.loads(file.read_text(encoding="utf-8"))
    arguments = record.get("model_args", {})
    arguments.pop("num_classes", None)
    if not arguments:
        record.pop("model_args", None)
    write_json(file, record)
