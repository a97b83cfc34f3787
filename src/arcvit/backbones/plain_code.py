"""The Python that builds a backbone without arcvit, as users of its library write it."""

from typing import Any

from arcvit.backbones.source import resolve_source
from arcvit.backbones.transformers_model import TransformersSource
from arcvit.core.errors import UserError
from arcvit.core.shown import python_text
from arcvit.core.task import AdapterTask


def code_of_backbone(task: AdapterTask) -> tuple[str, str]:
    """The library to import, and the expression that builds it with an output for each label.

    Raises:
        UserError: no expression of the library gives these weights, or the hub can't be reached.
    """
    asked = task.backbone
    source = resolve_source(asked.name, commit=asked.commit)
    given: dict[str, Any] = dict(asked.args)
    is_of_transformers = isinstance(source, TransformersSource)
    if asked.weights == "random" or (is_of_transformers and asked.weights != "pretrained"):
        raise UserError(f"its weights are {asked.weights}, which arcvit alone puts there.")
    if isinstance(source, TransformersSource):
        if source.commit is not None:
            given["revision"] = source.commit
        given |= {"num_labels": len(task.labels), "ignore_mismatched_sizes": True}
        function = "AutoModelForImageClassification.from_pretrained"
        return "transformers", f"transformers.{function}({_call(source.place, given)})"
    if asked.image_size is not None:
        given["img_size"] = asked.image_size
    name, file = source.architecture, source.file
    if asked.weights == "pretrained" and file is not None and file.name == "model.safetensors":
        name = f"local-dir:{file.parent}"  # its config has the source's arguments
    else:
        given = {**source.arguments, **given}
    weights = str(file) if asked.weights == "pretrained" and file is not None else asked.weights
    if weights.endswith(".npz"):
        given["checkpoint_path"] = weights
    else:
        given["pretrained"] = True
        if weights != "pretrained" and not name.startswith("local-dir:"):
            # timm leaves out a head of other classes than it is asked for, and fits positions to
            # the image size: neither by checkpoint_path.
            overlay = {"file": weights, "num_classes": 0, "custom_load": False}
            given["pretrained_cfg_overlay"] = overlay
    given["num_classes"] = len(task.labels)
    return "timm", f"timm.create_model({_call(name, given)})"


def _call(name: str, arguments: dict[str, Any]) -> str:
    return ", ".join([python_text(name), *(f"{key}={value!r}" for key, value in arguments.items())])
