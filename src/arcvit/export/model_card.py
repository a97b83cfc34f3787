"""The model card of an adapter: base model, labels, accuracy, and how to load it.

PEFT writes a card of its own first, most of it blank; this one replaces it.
"""

from collections.abc import Mapping
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from arcvit.core.shown import markdown
from arcvit.core.task import AdapterTask

CARD_FILE = "README.md"
_SHOWN_LABELS = 40
_ARC = (
    "Learned with ARC (Adapter Re-Composing, arXiv 2310.06234): linear bottleneck adapters whose"
    " projection is shared by all layers of one role, folded into the backbone for inference."
)
_SPLITS = {"test_accuracy": "test", "val_accuracy": "validation"}


def model_card(task: AdapterTask, config: Mapping[str, Any], *, source: str = ".") -> str:
    """The text of an adapter's ``README.md``.

    Args:
        task: what the adapter's outputs mean.
        config: its ``adapter_config.json``; empty for a model that was trained whole.
        source: where its snippet loads it from: the folder it lies in, or a repository.
    """
    data = ModelCardData(
        library_name="peft" if config else "arcvit",
        tags=_tags(config),
        pipeline_tag="image-classification",
        base_model=_hub_id(task.backbone.name),
        **_metrics(task),
    )
    return f"---\n{data.to_yaml()}\n---\n\n{_text(task, config, source)}"


def _tags(config: Mapping[str, Any]) -> list[str]:
    tags = ["adapter", "peft", str(config["peft_type"]).lower()] if config else []
    paper = ["arxiv:2310.06234"] if "arc" in tags else []
    return [*tags, "image-classification", *paper]


def _hub_id(backbone: str) -> str | None:
    """timm's weights lie on the hub as ``timm/NAME.TAG``; files and bundled weights don't."""
    if "." not in backbone or "/" in backbone or "\\" in backbone:
        return None
    return f"timm/{backbone}"


def _measured(task: AdapterTask) -> dict[str, float]:
    """The accuracies there are, by split."""
    found = {split: task.results.get(key) for key, split in _SPLITS.items()}
    return {split: value for split, value in found.items() if value is not None}


def _title(task: AdapterTask) -> str:
    method = str(task.results.get("method", "an")).replace("arc", "ARC")
    return f"{method} adapter for {task.results.get('task', 'image classification')}"


def _metrics(task: AdapterTask) -> dict[str, Any]:
    measured = _measured(task)
    if not measured:
        return {}
    name = str(task.results.get("task", "images"))
    return {
        "model_name": _title(task),
        "eval_results": [
            EvalResult(
                task_type="image-classification",
                dataset_type=name,
                dataset_name=name,
                dataset_split=split,
                metric_type="accuracy",
                metric_value=value,
            )
            for split, value in measured.items()
        ],
    }


def _text(task: AdapterTask, config: Mapping[str, Any], source: str) -> str:
    title = _title(task)
    shown = ", ".join(map(markdown, task.labels[:_SHOWN_LABELS]))
    more = len(task.labels) - _SHOWN_LABELS
    arc = config.get("peft_type") == "ARC"
    lines = [f"# {markdown(title[0].upper() + title[1:])}", ""]
    if arc:
        lines += [_ARC, ""]
    lines.append(
        f"- Base model: {markdown(task.backbone.name)} (fingerprint {task.backbone.fingerprint})"
    )
    if arc:
        bias = "a" if config["adapter_bias"] else "no"
        lines.append(f"- Adapter: {config['variant']}, r={config['r']}, {bias} bias")
    lines += [f"- Accuracy on the {split} split: {v:.1%}" for split, v in _measured(task).items()]
    lines += [
        f"- Labels ({len(task.labels)}): {shown}" + (f" and {more} more" if more > 0 else ""),
        f"- Preprocessing: `{task.preprocessing}`",
        "",
        "Run this in this folder:" if source == "." else "To use it:",
        "",
        "```python",
        "import arcvit",
        "",
        f"classifier = arcvit.load({source!r})",
        "print(classifier.labels)",
        '# classifier.predict("photo.jpg") tells what is to be seen on it.',
        "```",
        "",
    ]
    return "\n".join(lines)
