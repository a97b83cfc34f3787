"""The flags of a recipe as text, from the dataclasses that define them and their docstrings."""

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Collection
from typing import Any

from arcvit.core.errors import UserError, nearest
from arcvit.core.settings import described, hints_of, range_in
from arcvit.methods.row import value_text
from arcvit.methods.table import methods
from arcvit.recipe.keys import sections
from arcvit.recipe.recipe import Recipe

OFTEN = (
    *("method", "backbone", "init_from", "time_limit", "folds", "seed"),
    *("data.augment", "data.on_bad"),
    *("optim.lr", "optim.class_weights", "engine.epochs", "engine.batch_size", "engine.device"),
)
"""What people set: the other sixty are for those who know why."""
_METHODS = "methods"
_ALL = "all"
_INDENT = " " * 24


def recipe_help(
    group: str | None, *, command: str = "arcvit train", often: Collection[str] = OFTEN
) -> str:
    """What people set, the flags of one group, or all of them.

    Args:
        group: None: what is set often; a section of a recipe, ``recipe`` for its top, ``methods``
            for what each method trains; or ``all``.
        command: whose help it is.
        often: what is set often.

    Raises:
        UserError: there is no such group.
    """
    groups = _groups()
    if group is None:
        lines = []
        for name, (_, config) in groups.items():
            lines += _flags(_prefix(name), config, only=often)
        if often:
            lines = ["options that are set often:", *lines, ""]
        lines += [f"all options: {command} --help_all; those of a group: {command} --help GROUP"]
        lines += [f"  {_METHODS:<13}what each method trains, and its learning rate"]
        lines += [f"  {name:<13}{title}" for name, (title, _) in groups.items()]
    elif group == _METHODS:
        lines = _method_lines()
    elif group == _ALL:
        lines = _method_lines()
        for name in groups:
            lines += ["", *_group_lines(name, groups)]
    elif group in groups:
        lines = _group_lines(group, groups)
    else:
        raise UserError(
            f"--help has no group {group!r}: expected one of {_METHODS}, {', '.join(groups)}."
            f"{nearest(group, groups)}"
        )
    return "\n".join(lines) + "\n"


def _groups() -> dict[str, tuple[str, type[Any]]]:
    """The groups that have flags: what they are about, and the dataclass."""
    every: dict[str, type[Any]] = {"recipe": Recipe, **sections()}
    titles = {
        name: (inspect.getdoc(config) or "").partition("\n")[0] for name, config in every.items()
    }
    return {name: (titles[name], config) for name, config in every.items() if _flags("", config)}


def _prefix(group: str) -> str:
    return "" if group == "recipe" else f"{group}."


def _group_lines(name: str, groups: dict[str, tuple[str, type[Any]]]) -> list[str]:
    title, config = groups[name]
    return [f"{name}: {title}", *_flags(_prefix(name), config)]


def _method_lines() -> list[str]:
    every = methods().values()
    width = max(len(spec.name) for spec in every)
    return [
        "methods, their default learning rates (docs/defaults.md says how they were chosen), and",
        "what they train beside the head:",
        *(f"  {spec.name:<{width}}  {spec.lr:<7g} {spec.summary}" for spec in every),
    ]


def _flags(prefix: str, config: type[Any], *, only: Collection[str] | None = None) -> list[str]:
    hints, annotated = hints_of(config), hints_of(config, ranges=True)
    meaning = meanings(config)
    lines = []
    for field in dataclasses.fields(config):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint) or hint is Any:
            continue
        if only is not None and prefix + field.name not in only:
            continue
        limits = range_in(annotated[field.name])
        kind = described(hint) + (f" {limits}" if limits else "")
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if default is dataclasses.MISSING:
            kind += "; required"
        elif default is not None:
            kind += f"; default: {value_text(default)}"
        text = f"{meaning.get(field.name, '')} ({kind})".strip()
        flag = f"  --{prefix}{field.name}"
        wrapped = textwrap.wrap(text, 100, initial_indent=_INDENT, subsequent_indent=_INDENT)
        if len(flag) < len(_INDENT) - 1:
            wrapped[0] = flag.ljust(len(_INDENT)) + wrapped[0].lstrip()
            lines += wrapped
        else:
            lines += [flag, *wrapped]
    return lines


def meanings(config: type[Any]) -> dict[str, str]:
    """What a dataclass's docstring says of each field."""
    _, _, section = (inspect.getdoc(config) or "").partition("Attributes:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n {8,}.*)*)", section, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}
