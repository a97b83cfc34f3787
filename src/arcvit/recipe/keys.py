"""The keys of a recipe: what each may hold, checked before anything is built from them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from arcvit.core.errors import UserError, nearest
from arcvit.core.settings import check_value, described, from_text, hints_of
from arcvit.methods.table import method_named, methods
from arcvit.recipe.recipe import Recipe

METHOD_FROM = "method_from"
"""Where a method from outside came from: kept for the sentence when it isn't there any more."""
_HELP = " arcvit train --help_all lists what there is."


def sections() -> dict[str, type[Any]]:
    """The dataclass of each section: a recipe's own, then the methods'."""
    hints = hints_of(Recipe)
    own = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    return own | {spec.section: spec.options for spec in methods().values()}


def known_keys() -> dict[str, Any]:
    """The type of every key, as ``{"optim.lr": float | None}``."""
    inside = sections()
    hints = {
        name: hint
        for name, hint in hints_of(Recipe).items()
        if name not in inside and name != "options"
    }
    for section, config in inside.items():
        found = hints_of(config)
        hints |= {f"{section}.{f.name}": found[f.name] for f in dataclasses.fields(config)}
    return hints


def read_flags(flags: list[tuple[str, str | None]]) -> dict[str, Any]:
    """Values of flags and their texts, as the keys of a recipe.

    Raises:
        UserError: a flag isn't known, or its value isn't what the key expects.
    """
    known, inside = known_keys(), sections()
    values: dict[str, Any] = {}
    for flag, text in flags:
        key = flag.removeprefix("--")
        if key in inside:
            example = next((f", as --{k} VALUE" for k in known if k.startswith(f"{key}.")), "")
            raise UserError(f"{key} is a section: expected {described(inside[key])}{example}.")
        if key not in known:
            raise UserError(f"there is no flag {flag!r}.{_nearest_key(key, known) or _HELP}")
        if text is None:
            raise UserError(f"{flag} has no value after it: expected {described(known[key])}.")
        section, _, name = key.rpartition(".")
        inner = values.setdefault(section, {}) if section else values
        inner[name] = from_text(text, known[key], key=key)
    return values


def check_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a YAML file, each value as its type has it.

    Raises:
        UserError: a key isn't known, or its value isn't what it expects.
    """
    known, inside = known_keys(), sections()
    origin = values.get(METHOD_FROM)
    if isinstance(values.get("method"), str) and isinstance(origin, str):
        _check_outside_method(values["method"], origin)
    checked: dict[str, Any] = {}
    for key, value in values.items():
        if key == METHOD_FROM:
            continue
        if key in inside:
            if not isinstance(value, Mapping):
                raise UserError(f"{key} is {value!r}: expected {described(inside[key])}.")
            checked[key] = {
                name: _checked(f"{key}.{name}", inner, known) for name, inner in value.items()
            }
        elif isinstance(value, Mapping) and value and key not in known:
            # A misspelt section: its first key tells which one was meant.
            _checked(f"{key}.{next(iter(value))}", None, known)
        else:
            checked[key] = _checked(key, value, known)
    return checked


def _checked(key: str, value: Any, known: Mapping[str, Any]) -> Any:
    if key not in known:
        raise UserError(f"there is no key {key!r} in a recipe.{_nearest_key(key, known) or _HELP}")
    if isinstance(value, str):
        return from_text(value, known[key], key=key)  # YAML takes 1e-3 for text
    return check_value(key, value, known[key])


def _check_outside_method(method: str, origin: str) -> None:
    name = method.split(":")[0]
    if name not in methods():
        raise UserError(
            f"method is {name!r}, which came from outside arcvit, and no recipe loads it: if you"
            f" trust it, {'give' if origin.startswith('--') else 'install'} {origin}."
        )
    method_named(name)


def _nearest_key(key: str, known: Mapping[str, Any]) -> str:
    """The nearest keys, also where the section is missing or wrong: ``epochs``, ``optm.lr``."""
    section, _, leaf = key.rpartition(".")
    close = nearest(key, [k for k in known if section and k.startswith(f"{section}.")])
    if close:
        return close
    same_leaf = [k for k in known if k.rpartition(".")[2] == leaf]
    if same_leaf:
        return f" Did you mean {' or '.join(map(repr, same_leaf))}?"
    return nearest(key, known)
