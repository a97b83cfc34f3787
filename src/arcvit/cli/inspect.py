"""``arcvit inspect``: what a run or an adapter is, on what, how big."""

import json
import math
from pathlib import Path
from typing import Any

from rich.table import Table

from arcvit.cli.parser import command_parser
from arcvit.core.console import PlainConsole
from arcvit.core.errors import UserError
from arcvit.core.files import read_json, to_json
from arcvit.core.metric import METRICS
from arcvit.core.result import RunResult, is_finished, read_result
from arcvit.core.task import has_task, read_task
from arcvit.methods.table import written_by


def run(argv: list[str]) -> int:
    """Print a table, or JSON. Needs neither the backbone nor torch."""
    parser = command_parser("inspect", "What a run or an adapter is, on what, how big, its labels.")
    parser.add_argument("path", type=Path, metavar="RUN|ADAPTER", help="A run or adapter folder.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    options = parser.parse_args(argv)
    facts = _facts(options.path)
    if options.json:
        print(to_json(facts, indent=2))
        return 0
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in facts.items():
        table.add_row(name.replace("_", " "), _shown(value))
    PlainConsole().print(table)
    return 0


def _facts(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise UserError(f"{str(path)!r} isn't there: expected a run or an adapter folder.")
    adapter = path / "adapter" if (path / "adapter").is_dir() else path
    config_file = adapter / "adapter_config.json"
    if not config_file.is_file() and not has_task(adapter):
        raise UserError(
            f"{str(path)!r} is neither a run nor an adapter: expected adapter_config.json or a"
            " folder adapter/ in it."
        )
    config = _read(config_file)
    task = read_task(adapter) if has_task(adapter) else None
    spec = written_by(config)
    facts: dict[str, Any] = {"method": "unknown" if config_file.is_file() else "full"}
    if spec is not None:
        facts["method"] = spec.name
        facts |= {key: config[key] for key in spec.setting_names() if key in config}
    facts["tuner"] = config.get("peft_type")
    facts["backbone"] = task and task.backbone.name
    facts["backbone_fingerprint"] = task and task.backbone.fingerprint
    facts["preprocessing"] = task and task.preprocessing
    if is_finished(path):
        result = read_result(path)
        facts |= {
            "method": result.method,
            "task": result.task,
            **_measured(result),
            "trained_on": f"{result.train_images} images, {result.epochs} epochs",
            "trained_parameters": result.params["total"],
        }
    saved = config.get("modules_to_save")
    head = task.head if task else str(saved[0]) if saved and isinstance(saved, list) else "head"
    facts["parameters"], facts["file_bytes"] = _size(adapter, head)
    facts["labels"] = task and task.labels
    if task is not None and task.kind == "multilabel":
        chosen = task.thresholds and dict(zip(task.labels, task.thresholds, strict=True))
        facts |= {"kind": task.kind, "thresholds": chosen}
    return facts


def _measured(result: RunResult) -> dict[str, float | None]:
    """The main metric of both splits, and of the images that folds left out."""
    main = METRICS[result.kind][0]
    found = {f"{s}_{main}": result.metrics.get(s, {}).get(main) for s in ("val", "test")}
    out_of_fold = result.out_of_fold
    return found | ({f"out_of_fold_{main}": out_of_fold[main]} if out_of_fold else {})


def _size(adapter: Path, head: str) -> tuple[dict[str, int], int]:
    """Values in the head and outside it, and the size of the file."""
    for name in ("adapter_model.safetensors", "model.safetensors"):
        file = adapter / name
        if file.is_file():
            break
    else:
        raise UserError(f"{str(adapter)!r} holds no weights: expected adapter_model.safetensors.")
    parameters = {"adapter": 0, "head": 0}
    for key, shape in _shapes(file).items():
        part = "head" if f".{head}." in f".{key}" else "adapter"
        parameters[part] += math.prod(shape)
    return parameters, file.stat().st_size


def _shapes(file: Path) -> dict[str, list[int]]:
    """Shapes from a safetensors header: a length in 8 bytes, then JSON (safetensors' README)."""
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > file.stat().st_size:
                raise ValueError("its header is cut off")
            header = json.loads(stream.read(length))
        return {
            key: [int(length) for length in value["shape"]]
            for key, value in header.items()
            if key != "__metadata__"
        }
    except Exception as error:  # a header can be any JSON
        raise UserError(f"{file} is damaged: expected a safetensors file ({error}).") from error


def _read(file: Path) -> dict[str, Any]:
    return read_json(file) if file.is_file() else {}


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_shown(v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else str(value)
