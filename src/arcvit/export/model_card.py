"""The model card of an adapter: base model, labels, what came out, and how to load it.

PEFT writes a card of its own first, most of it blank; this one replaces it.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from arcvit.backbones.source import HF_HUB, TRANSFORMERS
from arcvit.core.metric import METRICS
from arcvit.core.shown import markdown
from arcvit.core.task import AdapterTask

CARD_FILE = "README.md"
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
"""``USER/NAME``, as far as a look tells: the hub's client knows what else a name mustn't have."""
_SHOWN_LABELS = 40
_ARC = (
    "Learned with ARC (Adapter Re-Composing, arXiv 2310.06234): linear bottleneck adapters whose"
    " projection is shared by all layers of one role, folded into the backbone for inference."
)
_SPLITS = {"test": "test", "val": "validation", "out_of_fold": "out-of-fold"}
_ID = {"mAP": "mean_average_precision"}


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
    for prefix in (HF_HUB, TRANSFORMERS):
        if backbone.startswith(prefix):
            repo = backbone.removeprefix(prefix).partition("@")[0]
            return repo if HUB_NAME.fullmatch(repo) and not Path(repo).is_dir() else None
    if "." not in backbone or "/" in backbone or "\\" in backbone:
        return None
    return f"timm/{backbone}"


def _measured(task: AdapterTask) -> list[tuple[str, str, float]]:
    """Split, metric and value of what was measured: the main metric of the kind of task."""
    main = METRICS[task.kind][0]
    metrics = task.results.get("metrics", {})
    values = {split: metrics.get(split, {}).get(main) for split in _SPLITS}
    if main == "accuracy":
        values |= {s: v for s in _SPLITS if (v := task.results.get(f"{s}_accuracy")) is not None}
    return [(_SPLITS[split], main, v) for split, v in values.items() if v is not None]


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
                metric_type=_ID.get(metric, metric),
                metric_value=value,
            )
            for split, metric, value in measured
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
    for split, metric, value in _measured(task):
        name = metric if metric == "mAP" else metric.capitalize()
        lines.append(f"- {name} on the {split} split: {value:.1%}")
    if task.kind == "multilabel":
        lines.append(
            "- An image has any number of these labels: each has a sigmoid of its own"
            + (", and a threshold in `task.json`" if task.thresholds else "")
        )
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
        '# classifier.predict("photo.jpg") tells what is to be seen on it'
        + (", as labels." if task.kind == "multilabel" else "."),
        "```",
        "",
    ]
    return "\n".join(lines)
