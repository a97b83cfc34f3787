"""The model card of a plain model that was exported for timm or transformers.

Such a folder knows its labels and how it is loaded, and nothing of the run that it came from.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from arcvit.backbones.transformers_model import is_transformers_config
from arcvit.core.errors import UserError
from arcvit.core.files import read_json
from arcvit.core.shown import markdown

PLAIN_CONFIG = "config.json"
_SHOWN_LABELS = 40
_TIMM = """\
import timm

model = timm.create_model("hf-hub:{repo}", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
labels = model.pretrained_cfg.get("label_names")"""
_TRANSFORMERS = """\
from transformers import AutoImageProcessor, pipeline

processor = AutoImageProcessor.from_pretrained("{repo}", backend="pil")
classify = pipeline("image-classification", model="{repo}", image_processor=processor)"""


def plain_card(folder: Path, *, repo: str) -> str:
    """The text of the ``README.md`` of a folder that timm or transformers loads.

    Args:
        folder: has a ``config.json`` of either.
        repo: ``USER/NAME``, which its snippet loads it from.

    Raises:
        UserError: the config is of neither.
    """
    record = read_json(folder / PLAIN_CONFIG)
    of_transformers = is_transformers_config(record)
    if not of_transformers and "architecture" not in record:
        raise UserError(
            f"{folder / PLAIN_CONFIG} is no config of timm or transformers: expected a folder that"
            " arcvit export wrote for one of them, a run's or an adapter's."
        )
    data = ModelCardData(
        library_name="transformers" if of_transformers else "timm",
        tags=["image-classification"],
        pipeline_tag="image-classification",
    )
    labels = _labels(record)
    shown = ", ".join(map(markdown, labels[:_SHOWN_LABELS]))
    more = f" and {len(labels) - _SHOWN_LABELS} more" if len(labels) > _SHOWN_LABELS else ""
    architecture = record.get("architecture") or record.get("model_type")
    lines = [
        f"# Image classifier: {markdown(repo.partition('/')[2])}",
        "",
        "Written by arcvit: what an adapter learned is folded into the weights.",
        "",
        f"- Architecture: {markdown(architecture)}",
        *([f"- Labels ({len(labels)}): {shown}{more}"] if labels else []),
        *(
            ["- An image has any number of these labels: take the sigmoid of each logit"]
            if record.get("problem_type") == "multi_label_classification"
            else []
        ),
        "",
        "```python",
        (_TRANSFORMERS if of_transformers else _TIMM).format(repo=repo),
        "```",
        "",
    ]
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(lines)


def _labels(record: Mapping[str, Any]) -> list[str]:
    numbered = record.get("id2label") or {}
    return record.get("label_names") or [numbered[key] for key in sorted(numbered, key=int)]
