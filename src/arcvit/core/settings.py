"""What a setting may hold: its kind and its range, checked where a config is made."""

import contextlib
import dataclasses
import functools
import math
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from arcvit.core.errors import UserError, nearest

_KINDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


@dataclass(frozen=True, kw_only=True)
class Range:
    """Finite numbers between bounds; a bound that isn't given isn't checked.

    Attributes:
        at_least: smallest number allowed.
        above: numbers must be greater than this.
        at_most: largest number allowed.
        below: numbers must be smaller than this.
    """

    at_least: float = -math.inf
    above: float = -math.inf
    at_most: float = math.inf
    below: float = math.inf

    def __contains__(self, value: float) -> bool:
        return (
            _is_finite(value)
            and self.at_least <= value <= self.at_most
            and self.above < value < self.below
        )

    def __str__(self) -> str:
        bounds = {
            "at least": self.at_least,
            "above": self.above,
            "at most": self.at_most,
            "below": self.below,
        }
        given = [f"{name} {bound:.10g}" for name, bound in bounds.items() if math.isfinite(bound)]
        return " and ".join(given)


Count = Annotated[int, Range(at_least=1)]
Positive = Annotated[float, Range(above=0)]
NotNegative = Annotated[float, Range(at_least=0)]
Share = Annotated[float, Range(at_least=0, below=1)]


def hints_of(config: type[Any], *, ranges: bool = False) -> Mapping[str, Any]:
    """The type of each field of a dataclass, with the range in it where ``ranges``."""
    key: Any = config  # mypy takes no class for hashable
    return _hints(key, ranges)


@functools.cache  # a bench makes the ten sections of hundreds of recipes
def _hints(config: type[Any], ranges: bool) -> Mapping[str, Any]:
    return types.MappingProxyType(get_type_hints(config, include_extras=ranges))


def check_settings(section: str, config: Any) -> None:
    """Check every field of a config dataclass against its type and the range in it, as ``Count``.

    None as a value is in every range.

    Args:
        section: where the config sits in a recipe, as ``optim``; empty at the top.
        config: the dataclass.

    Raises:
        UserError: names the key, its value and what was expected.
    """
    hints, annotated = hints_of(type(config)), hints_of(type(config), ranges=True)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        key = f"{section}.{field.name}" if section else field.name
        check_value(key, value, hints[field.name])
        check_range(key, value, annotated[field.name])


def check_value(key: str, value: Any, hint: Any) -> Any:
    """Check a value against a type; a whole number where any number is expected becomes a float.

    Raises:
        UserError: names the key, its value and what was expected.
    """
    value = _with_text_keys(value, hint)
    if not _fits(value, hint):
        raise UserError(
            f"{key} is {shown(value)}: expected {described(hint)}.{nearest_choice(value, hint)}"
        )
    whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if whole and float in _choices(hint) else value


def check_range(key: str, value: Any, hint: Any) -> None:
    """Check a value of the right kind against the range in its type; null is in every range.

    Raises:
        UserError: names the key, its value and what was expected.
    """
    limits = range_in(hint)
    if limits is not None and value is not None and value not in limits:
        whole = any(getattr(kind, "__origin__", None) is int for kind in _choices(hint))
        number = "a whole number" if whole else "a number"
        kind = number if _is_finite(value) else "a finite number"
        raise UserError(f"{key} is {shown(value)}: expected {kind} {limits}.")


def from_text(text: str, hint: Any, *, key: str) -> Any:
    """A value as a command line gives it: as it stands where text is expected, else as YAML.

    Raises:
        UserError: it isn't what the type expects.
    """
    choices = _choices(hint)
    value: Any = text
    if hint == list[str] and not text.startswith("["):
        value = [item.strip() for item in text.split(",")]
    elif str not in choices and get_origin(hint) is not Literal:
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"{key} is {text!r}: expected {described(hint)}.") from error
        if isinstance(value, str) and (float in choices or hint is Any):
            # YAML takes 1e-3 for text, as it has no point.
            with contextlib.suppress(ValueError):
                value = float(value)
    elif types.NoneType in choices and text in ("null", "~", ""):
        value = None
    value = _with_text_keys(value, hint)
    if not _fits(value, hint):
        raise UserError(
            f"{key} is {text!r}: expected {described(hint)}.{nearest_choice(value, hint)}"
        )
    return check_value(key, value, hint)


def shown(value: object, most: int = 200) -> str:
    """A value for a sentence; the rest of a long one is left out."""
    text = "null" if value is None else repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


def described(hint: Any) -> str:
    """A type as a user knows it: ``a whole number``, ``one of arc, linear``."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return f"keys of their own ({', '.join(f.name for f in dataclasses.fields(hint))})"
    if get_origin(hint) is Literal:
        return f"one of {', '.join(map(str, get_args(hint)))}"
    if get_origin(hint) is list:
        (item,) = get_args(hint)
        inside = f", each {described(item)}" if item is not str else ""
        return f"a list, as [a, b]{inside}"
    if get_origin(hint) is dict:
        return "keys and values, as {a: 1}"
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(described(h) for h in get_args(hint) if h is not types.NoneType)
    return _KINDS.get(hint, str(hint))


def nearest_choice(value: object, hint: Any) -> str:
    """The choices of a type nearest to a wrong value, ready to end a sentence; may be empty."""
    if isinstance(value, dict) and any(get_origin(kind) is dict for kind in _choices(hint)):
        odd = [name for name in value if not isinstance(name, str)]
        return f" YAML takes a name for {odd[0]}: put it in quotes." if odd else ""
    inner = get_args(hint)[0] if get_origin(hint) is list else hint
    if get_origin(inner) is not Literal:
        return ""
    wrong = value if isinstance(value, list) else [value]
    known = [str(choice) for choice in get_args(inner)]
    return next((nearest(str(v), known) for v in wrong if str(v) not in known), "")


def range_in(hint: Any) -> Range | None:
    """The range in an annotated type, or in one of those a value may have."""
    found = [extra for kind in _choices(hint) for extra in getattr(kind, "__metadata__", ())]
    return next((extra for extra in found if isinstance(extra, Range)), None)


def _is_finite(value: float) -> bool:
    return isinstance(value, int) or math.isfinite(value)


def _choices(hint: Any) -> tuple[Any, ...]:
    """The types of which a value may have any."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _with_text_keys(value: Any, hint: Any) -> Any:
    """Names that YAML takes for numbers, as {1: 2}, as the text they are."""
    names = any(get_origin(kind) is dict and get_args(kind)[0] is str for kind in _choices(hint))
    if not names or not isinstance(value, dict):
        return value
    return {str(name) if type(name) in (int, float) else name: v for name, v in value.items()}


def _fits(value: object, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin is Literal:
        return value in get_args(hint)
    if origin is list:
        return isinstance(value, list) and all(_fits(v, get_args(hint)[0]) for v in value)
    if origin is dict:
        name, item = get_args(hint)
        return isinstance(value, dict) and all(
            _fits(n, name) and _fits(v, item) for n, v in value.items()
        )
    if hint is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(_fits(value, h) for h in get_args(hint))
    if hint is float:
        # JSON spells whole numbers that no float holds.
        return isinstance(value, float) or (type(value) is int and abs(value) < 2**1023)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)
