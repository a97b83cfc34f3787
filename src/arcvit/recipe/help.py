"""The flags of a recipe as text, from the dataclasses that define them and their docstrings."""

import dataclasses
import inspect
import re
import textwrap
from typing import Any, get_type_hints

from arcvit.core.settings import described, range_in
from arcvit.methods.row import value_text
from arcvit.methods.table import methods
from arcvit.recipe.keys import sections
from arcvit.recipe.recipe import Recipe

_INDENT = " " * 24


def recipe_help() -> str:
    """The methods, then every field as a flag with its meaning, what it takes and its default."""
    every = methods().values()
    width = max(len(spec.name) for spec in every)
    lines = [
        "methods, their default learning rates (docs/defaults.md says how they were chosen), and",
        "what they train beside the head:",
        *(f"  {spec.name:<{width}}  {spec.lr:<7g} {spec.summary}" for spec in every),
    ]
    every_section: dict[str, type[Any]] = {"": Recipe, **sections()}
    for section, config in every_section.items():
        title = (inspect.getdoc(config) or "").partition("\n")[0]
        flags = _flags(section, config)
        if flags:
            lines += ["", f"{section or 'recipe'}: {title}", *flags]
    return "\n".join(lines) + "\n"


def _flags(section: str, config: type[Any]) -> list[str]:
    hints, annotated = get_type_hints(config), get_type_hints(config, include_extras=True)
    meaning = _attributes(config)
    lines = []
    for field in dataclasses.fields(config):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint) or hint is Any:
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
        flag = f"  --{section}.{field.name}" if section else f"  --{field.name}"
        wrapped = textwrap.wrap(text, 100, initial_indent=_INDENT, subsequent_indent=_INDENT)
        if len(flag) < len(_INDENT) - 1:
            wrapped[0] = flag.ljust(len(_INDENT)) + wrapped[0].lstrip()
            lines += wrapped
        else:
            lines += [flag, *wrapped]
    return lines


def _attributes(config: type[Any]) -> dict[str, str]:
    """What a dataclass's docstring says of each field."""
    _, _, section = (inspect.getdoc(config) or "").partition("Attributes:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n {8,}.*)*)", section, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}
