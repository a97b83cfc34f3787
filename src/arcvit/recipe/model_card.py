"""The model card of an adapter: base model, labels, accuracy, and how to load it.

PEFT writes a card of its own first, most of it blank; this one replaces it.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from arcvit.arc.config import ArcConfig
from arcvit.core.result import RunResult

if TYPE_CHECKING:
    from arcvit.recipe.adapter import TaskCard

_SHOWN_CLASSES = 40


def write_model_card(
    folder: Path, config: ArcConfig, card: "TaskCard", result: RunResult | None
) -> None:
    """Write ``README.md`` into an adapter folder."""
    data = ModelCardData(
        library_name="peft",
        tags=["arc", "adapter", "image-classification", "peft", "arxiv:2310.06234"],
        pipeline_tag="image-classification",
        base_model=_hub_id(card.backbone),
        **_metrics(result),
    )
    ModelCard(f"---\n{data.to_yaml()}\n---\n\n{_text(config, card, result)}").save(
        folder / "README.md"
    )


def _hub_id(backbone: str) -> str | None:
    """timm's weights lie on the hub as ``timm/NAME.TAG``; files and bundled weights don't."""
    if "." not in backbone or "/" in backbone or "\\" in backbone:
        return None
    return f"timm/{backbone}"


def _measured(result: RunResult | None) -> dict[str, float]:
    """The accuracies there are, by split."""
    if result is None:
        return {}
    found = {"test": result.test_accuracy, "validation": result.val_accuracy}
    return {split: value for split, value in found.items() if value is not None}


def _metrics(result: RunResult | None) -> dict[str, Any]:
    if result is None or not _measured(result):
        return {}
    return {
        "model_name": f"ARC adapter for {result.task}",
        "eval_results": [
            EvalResult(
                task_type="image-classification",
                dataset_type=result.task,
                dataset_name=result.task,
                dataset_split=split,
                metric_type="accuracy",
                metric_value=value,
            )
            for split, value in _measured(result).items()
        ],
    }


def _text(config: ArcConfig, card: "TaskCard", result: RunResult | None) -> str:
    shown = ", ".join(card.classes[:_SHOWN_CLASSES])
    more = len(card.classes) - _SHOWN_CLASSES
    lines = [
        f"# ARC adapter for {'image classification' if result is None else result.task}",
        "",
        "Learned with ARC (Adapter Re-Composing, arXiv 2310.06234): linear bottleneck adapters"
        " whose projection is shared by all layers of one role, folded into the backbone for"
        " inference.",
        "",
        f"- Base model: {card.backbone} (fingerprint {card.backbone_fingerprint})",
        f"- Adapter: {config.variant}, r={config.r}, {'a' if config.adapter_bias else 'no'} bias",
        *(f"- Accuracy on the {split} split: {v:.1%}" for split, v in _measured(result).items()),
        f"- Labels ({len(card.classes)}): {shown}" + (f" and {more} more" if more > 0 else ""),
        f"- Preprocessing: `{card.preprocessing}`",
        "",
        "```python",
        "import timm",
        "from arcvit import ArcConfig  # makes ARC known to PEFT",
        "from peft import PeftModel",
        "",
        f"backbone = timm.create_model({card.backbone!r}, pretrained=True)",
        'model = PeftModel.from_pretrained(backbone, "THIS_FOLDER_OR_REPOSITORY")',
        "```",
        "",
    ]
    return "\n".join(lines)
