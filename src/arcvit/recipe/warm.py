"""A warm start: a run that begins with what another one has learned, be it of other classes."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from peft import PeftConfig, PeftModel
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn

from arcvit.arc.state import check_state, loads_whole
from arcvit.core.errors import UserError
from arcvit.core.task import has_task
from arcvit.data.findings import examples
from arcvit.methods.stored import CONFIG_FILE, WRAPPED, StoredAdapter, read_stored
from arcvit.recipe.prepare import Workplace
from arcvit.recipe.recipe import Recipe
from arcvit.recipe.run import ADAPTER_FOLDER

_OF_NO_CONCERN = (
    *("peft_version", "inference_mode", "auto_mapping", "base_model_name_or_path", "revision"),
    *("task_type", "num_classes", "backbone_fingerprint"),
)


def start_from(source: str, work: Workplace, recipe: Recipe, say: Callable[[str], None]) -> None:
    """Load an adapter, and the rows of its head whose classes the task has too, by their names.

    Rows of new classes stay as they are made, at zero.

    Args:
        source: a finished run or an adapter folder.
        work: whose model learns; changed in place.
        recipe: what the run does.
        say: told in a line which classes are carried over.

    Raises:
        UserError: it is neither, or it is of another backbone or method, or of other settings.
    """
    stored = read_stored(_adapter_in(Path(source).expanduser()))
    _check_same_kind(source, stored, work, recipe)
    model, whole = work.model, stored.config is None
    own = model.state_dict() if whole else _as_saved(model)
    head = f"{'' if whole else WRAPPED}{work.backbone.head}."
    labels, now = stored.task.labels, work.task.classes
    given = dict(stored.state)
    for key in own:
        if key.startswith(head) and key in given:
            given[key] = _carried(given[key], own[key], labels, now)
    try:
        if whole:
            check_state(own, given)
            model.load_state_dict(given)
        else:
            name = str(model.active_adapter)
            with loads_whole(model, name):
                set_peft_model_state_dict(model, given, adapter_name=name)
    except UserError as error:
        raise UserError(f"--init_from {source}: {error}") from error
    say(f"starts from {source}: {_classes(labels, now)}")


def _adapter_in(source: Path) -> Path:
    """The adapter of a finished run, or the folder itself."""
    if has_task(source) or (source / CONFIG_FILE).is_file():
        return source
    if not has_task(source / ADAPTER_FOLDER):
        raise UserError(
            f"--init_from {str(source)!r} is neither a finished run nor an adapter: expected a"
            " folder that arcvit train wrote, or the adapter folder in it."
        )
    return source / ADAPTER_FOLDER


def _check_same_kind(source: str, stored: StoredAdapter, work: Workplace, recipe: Recipe) -> None:
    there, here = stored.task.backbone, work.adapter_task.backbone
    prints = {there.fingerprint, here.fingerprint} - {None}
    if len(prints) > 1 or stored.task.head != work.backbone.head:
        raise UserError(
            f"--init_from {source} was trained on the backbone {there.name!r}, and this run takes"
            f" {here.name!r}, which has other weights: expected the same --backbone."
        )
    if stored.task.kind != recipe.task:
        raise UserError(
            f"--init_from {source} is of a task that is {stored.task.kind}, and this one is"
            f" {recipe.task}: expected the same --task."
        )
    method = str(stored.task.results.get("method", "another method"))
    differing = _differing(stored.config, work.model)
    if differing:
        raise UserError(
            f"--init_from {source} holds what {method} learned, and this run trains"
            f" {recipe.method} ({differing}): expected the same --method with the same settings."
        )


def _differing(config: PeftConfig | None, model: nn.Module) -> str:
    """In what an adapter isn't of the model's kind; empty: it is."""
    if config is None or not isinstance(model, PeftModel):
        return "" if config is None and not isinstance(model, PeftModel) else "not an adapter"
    there, here = _settings(config), _settings(model.peft_config[model.active_adapter])
    if str(config.peft_type) != str(model.peft_config[model.active_adapter].peft_type):
        return "of another kind"
    return examples(
        [
            f"{key} is {there.get(key)} there and {here.get(key)} here"
            for key in here
            if there.get(key) != here.get(key)
        ]
    )


def _settings(config: PeftConfig) -> dict[str, Any]:
    """What an adapter computes follows from these; how it starts and drops out doesn't count."""
    settings = {}
    for field in dataclasses.fields(config):
        if field.name in _OF_NO_CONCERN or "dropout" in field.name or "init" in field.name:
            continue
        value = getattr(config, field.name)
        settings[field.name] = sorted(value) if isinstance(value, (set, list, tuple)) else value
    return settings


def _as_saved(model: PeftModel) -> dict[str, Tensor]:
    state: dict[str, Tensor] = get_peft_model_state_dict(
        model, adapter_name=model.active_adapter, save_embedding_layers=False
    )
    return state


def _carried(value: Tensor, own: Tensor, labels: Sequence[str], now: Sequence[str]) -> Tensor:
    """A tensor of the head, (K, ...): the rows of ``now`` that have a label there, else its own."""
    if value.ndim == 0 or (len(value), len(own)) != (len(labels), len(now)):
        return value  # of a layer before the logits
    row_of = {label: row for row, label in enumerate(labels)}
    rows = own.detach().clone()
    for row, label in enumerate(now):
        if label in row_of:
            rows[row] = value[row_of[label]]
    return rows


def _classes(labels: Sequence[str], now: Sequence[str]) -> str:
    new = [label for label in now if label not in labels]
    gone = [label for label in labels if label not in now]
    parts = [f"{len(now) - len(new)} of {len(now)} classes were known"]
    parts += [f"new: {examples(new)}"] if new else []
    parts += [f"left out: {examples(gone)}"] if gone else []
    return "; ".join(parts)
