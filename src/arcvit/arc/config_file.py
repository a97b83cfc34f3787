"""An ``adapter_config.json`` as it was read: values of the right kinds, before PEFT takes them.

PEFT gives what stands in the file to a dataclass, which takes anything: a list for ``r`` shows much
later, as a traceback from somewhere.
"""

import dataclasses
import enum
import json
import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin

from arcvit.arc.patterns import check_pattern
from arcvit.core.errors import UserError
from arcvit.core.settings import check_range, check_value, hints_of, shown

_ANY_NUMBER = ("lora_alpha",)
"""Whole numbers by PEFT's annotation that are used as factors."""
_PATTERNS = ("target_modules", "exclude_modules", "layers_pattern", "modules_to_save")
_PATTERN_KEYS = ("rank_pattern", "alpha_pattern")


def check_config(kind: type[Any], values: Mapping[str, Any]) -> None:
    """Refuse values that a config's dataclass doesn't expect, and expressions that may hang.

    Keys that the dataclass hasn't are left to PEFT, which tells of them.

    Args:
        kind: the dataclass.
        values: what stands in the file.

    Raises:
        UserError: names the key, its value and what was expected.
    """
    hints = hints_of(kind, ranges=True)
    for field in dataclasses.fields(kind):
        key = field.name
        if key not in values or (values[key] is None and field.default is None):
            continue
        value, hint = values[key], hints[key]
        check_value(key, value, float if key in _ANY_NUMBER else _as_in_json(hint))
        try:
            json.dumps(value, allow_nan=False, default=str)
        except ValueError as error:
            raise UserError(f"{key} is {shown(value)}: expected finite numbers.") from error
        check_range(key, value, hint)
    for key, pattern in _expressions(values):
        check_pattern(key, pattern)


def _as_in_json(hint: Any) -> Any:
    """What JSON holds where the dataclass has this type; which words it knows, it says itself."""
    origin, inner = get_origin(hint), get_args(hint)
    if hasattr(hint, "__metadata__"):
        return _as_in_json(inner[0])
    if origin is Literal:
        return Union[tuple(type(word) for word in inner)]  # noqa: UP007  types aren't known
    if origin in (Union, types.UnionType):
        return Union[tuple(_as_in_json(one) for one in inner)]  # noqa: UP007
    if origin is tuple:
        return list[Any]
    if origin in (list, dict):
        return origin[tuple(_as_in_json(one) for one in inner)]
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return dict[str, Any]
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return str
    return {dict: dict[str, Any], list: list[Any]}.get(hint, hint)


def _expressions(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What PEFT takes for regular expressions, by its key."""
    for key in _PATTERNS:
        value = values.get(key)
        if isinstance(value, str):
            yield key, value
        elif value and key not in ("target_modules", "exclude_modules"):
            yield from ((key, one) for one in value)
    for key in _PATTERN_KEYS:
        yield from ((key, one) for one in values.get(key) or {})
