"""JSON from strangers: objects only, no NaN, and no depth or number that stops the parser."""

import json
from typing import Any, NoReturn

from arcvit.serve.http.apart import LARGE
from arcvit.serve.http.http_error import HttpError


def json_object(data: bytes, what: str) -> dict[str, Any]:
    """The object that a body holds; an empty body is an empty object.

    Raises:
        HttpError: it isn't JSON, or not an object.
    """
    # Only between steps of Python may other threads go on, and json itself takes none: 30 MB of
    # numbers would stop the whole server for seconds.
    steps: dict[str, Any] = {"parse_float": _float, "parse_int": _int} if len(data) >= LARGE else {}
    try:
        found = json.loads(data or b"{}", parse_constant=_no_number, **steps)
    # A number of thousands of digits is a ValueError, too; so is a text that isn't UTF-8.
    except ValueError as error:
        raise HttpError(400, f"{what} isn't JSON: {error}.") from error
    except RecursionError as error:
        raise HttpError(400, f"{what} is nested too deeply.") from error
    if not isinstance(found, dict):
        raise HttpError(400, f"{what} is {kind(found)}: expected an object.")
    return found


def field(
    of: dict[str, Any], name: str, expected: type | tuple[type, ...], what: str, default: Any = None
) -> Any:
    """The value of a key; ``default`` where it isn't there or null.

    Raises:
        HttpError: it is of another kind.
    """
    value = of.get(name)
    if value is None:
        return default
    kinds = expected if isinstance(expected, tuple) else (expected,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join(_KINDS[kind] for kind in kinds)
        raise HttpError(400, f"{what} has {name!r}, which is {kind(value)}: expected {wanted}.")
    return value


def kind(value: object) -> str:
    """What JSON calls a value."""
    return _KINDS.get(type(value), "null")


_KINDS = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a whole number",
    float: "a number",
}


def _float(text: str) -> float:
    return float(text)


def _int(text: str) -> int:
    return int(text)


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
