"""YAML from anyone: a small file may stand for billions of values, or be nested without end."""

from pathlib import Path
from typing import Any

import yaml

from arcvit.core.errors import UserError

_Loader: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C is ten times as fast

_MOST_BYTES = 4 * 2**20
"""As large may a file be: settings of ten thousand tasks have half of it."""
_SMALL = 2**16
_DEEPEST = 50
_LONGEST_NUMBER = 100
"""Digits; Python takes quadratic time to read a number in base 60."""
_REPEATS = 10
"""As many times its own size may a file stand for, once its references are written out."""


def read_yaml(file: Path) -> Any:
    """What a YAML file holds; JSON is YAML too.

    Raises:
        UserError: it isn't YAML, or is more than a file of settings can be.
    """
    if not file.is_file():
        raise UserError(f"{file} isn't a file: expected YAML.")
    if file.stat().st_size > _MOST_BYTES:
        raise UserError(f"{file} has more than {_MOST_BYTES:,} bytes: expected a file of settings.")
    try:
        text = file.read_text(encoding="utf-8")
        kind = _loader_of(text)
        _check_events(text, kind)
        loader = kind(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_size(node)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise UserError(f"{file} isn't YAML ({' '.join(str(error).split())[:200]}).") from error
    # Of numbers and dates that there are none of, the constructor raises what Python does.
    except ValueError as error:
        raise UserError(f"{file} can't be read: {' '.join(str(error).split())[:200]}.") from error


def _loader_of(text: str) -> Any:
    """Names of files may be bytes that aren't UTF-8, which are escapes that C's loader refuses."""
    small = len(text) <= _SMALL
    return yaml.SafeLoader if small and "\\ud" in text.casefold() else _Loader


def _check_events(text: str, loader: Any) -> None:
    """Refuse depth before anything recurses: the composer in C would end the process."""
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ValueError(f"it is nested more than {_DEEPEST} levels deep")


def _check_size(root: yaml.Node) -> None:
    """Refuse references that multiply, or that lead back to what they are in."""
    sizes: dict[int, int | None] = {}

    def size(node: yaml.Node) -> int:
        known = sizes.get(id(node), 0)
        if known is None:
            raise ValueError("a reference (*) leads back to what it is in")
        if known:
            return known
        sizes[id(node)] = None
        inner: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            inner = node.value
        elif isinstance(node, yaml.MappingNode):
            inner = [part for pair in node.value for part in pair]
        elif node.tag.endswith((":int", ":float")) and len(node.value) > _LONGEST_NUMBER:
            raise ValueError(f"it has a number of {len(node.value):,} digits")
        total = 1 + sum(map(size, inner))
        sizes[id(node)] = total
        return total

    stands_for = size(root)
    if stands_for > 1000 + _REPEATS * len(sizes):
        raise ValueError(f"its references (*) stand for {stands_for:,} values")
