"""The model card of an adapter: base model, labels, accuracy, and how to load it.

PEFT writes a card of its own first, most of it blank; this one replaces it where the config knows
what the adapter is.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

if TYPE_CHECKING:
    from arcvit.arc.config import ArcConfig

_SHOWN_CLASSES = 40


def write_model_card(folder: Path, config: "ArcConfig") -> None:
    """Write ``README.md`` into an adapter folder."""
    data = ModelCardData(
        library_name="peft",
        tags=["arc", "adapter", "image-classification", "peft", "arxiv:2310.06234"],
        pipeline_tag="image-classification",
        base_model=_hub_id(config.backbone),
        **_metrics(config),
    )
    ModelCard(f"---\n{data.to_yaml()}\n---\n\n{_text(config)}").save(folder / "README.md")


def _hub_id(backbone: str | None) -> str | None:
    """timm's weights lie on the hub as ``timm/NAME.TAG``; files and bundled weights don't."""
    if backbone is None or "." not in backbone or "/" in backbone or "\\" in backbone:
        return None
    return f"timm/{backbone}"


def _metrics(config: "ArcConfig") -> dict[str, Any]:
    results = config.results or {}
    measured = {key: results[key] for key in ("test_accuracy", "val_accuracy") if results.get(key)}
    if not measured:
        return {}
    task = str(results.get("task", "images"))
    return {
        "model_name": f"ARC adapter for {task}",
        "eval_results": [
            EvalResult(
                task_type="image-classification",
                dataset_type=task,
                dataset_name=task,
                dataset_split=key.partition("_")[0],
                metric_type="accuracy",
                metric_value=value,
            )
            for key, value in measured.items()
        ],
    }


def _text(config: "ArcConfig") -> str:
    results = config.results or {}
    lines = [
        f"# ARC adapter for {results.get('task', 'image classification')}",
        "",
        "Learned with ARC (Adapter Re-Composing, arXiv 2310.06234): linear bottleneck adapters"
        " whose projection is shared by all layers of one role, folded into the backbone for"
        " inference.",
        "",
        f"- Base model: {config.backbone or 'not recorded'}"
        f" (fingerprint {config.backbone_fingerprint or 'not recorded'})",
        f"- Adapter: {config.variant}, r={config.r}, bias {config.bias}",
    ]
    for key in ("test_accuracy", "val_accuracy"):
        if results.get(key) is not None:
            split = {"test": "test", "val": "validation"}[key.partition("_")[0]]
            lines.append(f"- Accuracy on the {split} split: {results[key]:.1%}")
    if config.classes is not None:
        shown = ", ".join(config.classes[:_SHOWN_CLASSES])
        more = len(config.classes) - _SHOWN_CLASSES
        lines.append(
            f"- Labels ({len(config.classes)}): {shown}" + (f" and {more} more" if more > 0 else "")
        )
    if config.preprocessing is not None:
        lines.append(f"- Preprocessing: `{config.preprocessing}`")
    lines += [
        "",
        "```python",
        "import arcvit, timm",
        "from peft import PeftModel",
        "",
        f"backbone = timm.create_model({config.backbone or 'NAME'!r}, pretrained=True)",
        'model = PeftModel.from_pretrained(backbone, "THIS_FOLDER_OR_REPOSITORY")',
        "```",
        "",
    ]
    return "\n".join(lines)
