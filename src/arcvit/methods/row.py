"""A method with settings in one word, as ``arc:share=none:r=10``: a row of a table. No torch."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from arcvit.core.errors import UserError, nearest
from arcvit.core.settings import from_text, hints_of
from arcvit.methods.spec import MethodSpec
from arcvit.methods.table import method_named, methods


@dataclass(frozen=True, kw_only=True)
class MethodRow:
    """A method with some settings fixed.

    Attributes:
        spec: the method.
        settings: values of a recipe's keys, as ``{"arc.share": "none"}``.
        label: its name in tables: the same for the same settings, however they were written.
    """

    spec: MethodSpec
    settings: Mapping[str, Any]
    label: str


def parse_row(text: str, *, key: str = "method") -> MethodRow:
    """Read ``METHOD`` or ``METHOD:KEY=VALUE:KEY=VALUE``; a value is YAML.

    A key is a setting of the method, or with a dot one of a recipe, as ``optim.weight_decay``.

    Args:
        text: what was written.
        key: where, for the sentences.

    Raises:
        UserError: the method, a key or a value isn't known.
    """
    name, *given = split_outside(text, ":")
    spec = method_named(name, key=key)
    settings: dict[str, Any] = {}
    shown = name
    if given and spec.argument is not None and "=" not in given[0]:
        file = given.pop(0)
        settings = {f"{spec.section}.{k}": v for k, v in spec.argument(file).items()}
        shown = f"{name}:{Path(file).stem}"
    own = {}
    for item in given:
        setting, equals, value = item.partition("=")
        if not equals or not setting or not value:
            raise UserError(
                f"{key} is {text!r}: expected settings as {name}:KEY=VALUE, of"
                f" {', '.join(spec.setting_names()) or 'which this method has none'}."
            )
        setting = setting.removeprefix(f"{spec.section}.")
        own[setting] = _value(spec, setting, value, text, key)
    order = {setting: index for index, setting in enumerate(spec.setting_names())}
    own = dict(sorted(own.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))
    for setting, value in own.items():
        full = setting if "." in setting else f"{spec.section}.{setting}"
        file_has = settings.get(full)
        settings[full] = file_has | value if isinstance(file_has, dict) else value
    # A name that stands for settings is shorter than they are.
    for other in methods().values():
        fixed = {f"{other.section}.{k}": v for k, v in other.fixed.items()}
        if other.section != spec.section or not fixed or not fixed.items() <= settings.items():
            continue
        spec, shown = other, other.name
        own = {k: v for k, v in own.items() if k not in other.fixed}
        settings = {k: v for k, v in settings.items() if k not in fixed}
    label = ":".join([shown, *(f"{k}={value_text(v)}" for k, v in own.items())])
    return MethodRow(spec=spec, settings=settings, label=label)


def split_outside(text: str, mark: str) -> list[str]:
    """Split at a mark, but not within brackets: ``a:b=[c, d]`` has one part after the colon."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[{(") - (character in "]})")
        if character == mark and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _value(spec: MethodSpec, setting: str, text: str, row: str, key: str) -> Any:
    if "." in setting:
        return from_text(text, Any, key=setting)
    hints = hints_of(spec.options)
    if setting not in {field.name for field in dataclasses.fields(spec.options)}:
        raise UserError(
            f"{key} is {row!r}, but {spec.name} has no setting {setting!r}: expected some of"
            f" {', '.join(hints)}.{nearest(setting, hints)}"
        )
    return from_text(text, hints[setting], key=f"{spec.section}.{setting}")


def value_text(value: Any) -> str:
    """A value as YAML in one line."""
    if isinstance(value, float):
        return f"{value:g}"
    return (
        yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()
    )
