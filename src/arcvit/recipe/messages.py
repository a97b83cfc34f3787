"""jsonargparse's errors as one sentence: the key, what was expected, the nearest key or value.

Its messages name Python types and come in layers. What matters in them is the key; what is expected
of it follows from the recipe's own fields.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any, get_type_hints

from arcvit.core.errors import nearest
from arcvit.core.settings import described, nearest_choice
from arcvit.recipe.recipe import Recipe

_HELP = " arcvit train --help lists what there is."


def one_sentence(message: str, flags: Sequence[str]) -> str:
    """An error of the parser in the user's words.

    Args:
        message: what jsonargparse says.
        flags: the parser's flags, with their dashes.
    """
    text = " ".join(message.split())
    known = [flag.removeprefix("--") for flag in flags if flag.startswith("--")]
    for pattern, say in _SENTENCES:
        found = re.search(pattern, text)
        if found is not None:
            return str(say(known, *found.groups()))
    return text.rstrip(".") + "."


def _unknown_argument(known: Sequence[str], argument: str) -> str:
    if not argument.startswith("-"):
        return (
            f"{argument!r} is not expected here: every value follows a flag, as --data.path FOLDER."
            + _HELP
        )
    flag = argument.split("=")[0]
    return f"there is no flag {flag!r}.{_nearest_key(flag.lstrip('-'), known) or _HELP}"


def _unknown_key(known: Sequence[str], key: str) -> str:
    return f"there is no key {key!r} in a recipe.{_nearest_key(key, known) or _HELP}"


def _unknown_key_in(known: Sequence[str], section: str, key: str) -> str:
    return _unknown_key(known, f"{section}.{key}")


def _nearest_key(key: str, known: Sequence[str]) -> str:
    """The nearest keys, also where the section is missing or wrong: ``epochs``, ``optm.lr``."""
    leaf = key.rpartition(".")[2]
    same_leaf = [k for k in known if k.rpartition(".")[2] == leaf]
    if same_leaf:
        return f" Did you mean {' or '.join(map(repr, same_leaf))}?"
    return nearest(key, known)


def _missing(known: Sequence[str], keys: str) -> str:
    del known
    if "data.path" in keys:
        return (
            "data.path is missing: give the images with --data.path FOLDER, or a YAML file that"
            " names them with --config FILE."
        )
    return f"{keys} is missing: give it with --{keys} or in a YAML file with --config."


def _no_value(known: Sequence[str], flag: str) -> str:
    del known
    hint = _hint(flag.lstrip("-"))
    expected = "a value" if hint is None else described(hint)
    return f"{flag} has no value after it: expected {expected}."


def _not_a_config(known: Sequence[str], key: str) -> str:
    hint = _hint(key)
    expected = "keys of its own" if hint is None else described(hint)
    example = next((f", as --{k} VALUE" for k in known if k.startswith(f"{key}.")), "")
    return f"{key} is a section: expected {expected}{example}, or a YAML file with them."


def _wrong_value(known: Sequence[str], key: str, value: str) -> str:
    del known
    hint = _hint(key)
    if hint is None:
        return f"{key} can't be {value!r}.{_HELP}"
    return f"{key} is {value!r}: expected {described(hint)}.{nearest_choice(value, hint)}"


def _no_file(known: Sequence[str], file: str) -> str:
    del known
    return f"config file {file} isn't there: expected a recipe in YAML."


def _no_yaml(known: Sequence[str], detail: str) -> str:
    del known
    return f"the config file isn't YAML ({detail}): expected lines as 'method: arc'."


def _no_recipe(known: Sequence[str], found: str) -> str:
    del known
    shown = f"holds {found[:40]!r}" if found else "is empty"
    return (
        f"the config file {shown}: expected a recipe in YAML, as arcvit train --print_config"
        " prints it."
    )


_SENTENCES: tuple[tuple[str, Any], ...] = (
    (r"[Uu]nrecognized arguments?: (\S+)", _unknown_argument),
    (r"Option '([^']+)' is not accepted", _unknown_key),
    (r"Group '([^']+)' does not accept option '([^']+)'", _unknown_key_in),
    (r"following arguments are required: (.+?)\.?$", _missing),
    (r"argument (--[\w.]+).*: expected one argument", _no_value),
    (r"File does not exist: (.+?)\.?$", _no_file),
    (r"Problems parsing config: (.+?)\.?$", _no_yaml),
    (r"Unexpected config:\s*(.*)$", _no_recipe),
    (r"Parser key \"([\w.]+)\": Unable to load config", _not_a_config),
    (r"Parser key \"([\w.]+)\":.*[Gg](?:ot|iven) value: (.*?)\.?$", _wrong_value),
)


def _hint(key: str) -> Any:
    """The type of a recipe's key; None where it isn't one."""
    hint: Any = Recipe
    for name in key.split("."):
        if not (isinstance(hint, type) and dataclasses.is_dataclass(hint)):
            return None
        hint = get_type_hints(hint).get(name)
    return hint
