"""What a fine-tuned checkpoint of the authors holds, and whether its keys are all that it should.

Their files are plain state dicts of a model of theirs with its adapters. A strict map for each of
their model files takes every key to one of timm's model, of an ARC adapter on it, or of its head.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from arcvit.core.errors import UserError

WRAPPED = "base_model.model."
"""How PEFT's names of an adapter's weights begin."""
Shape = tuple[int | None, ...]
"""None for a length that may be any."""


@dataclass(frozen=True, kw_only=True)
class OfficialCheckpoint:
    """What an official file holds.

    Attributes:
        architecture: the timm architecture it goes on.
        arguments: what that is built with.
        backbone: state dict of timm's model without its head.
        head: ``weight`` (K, d) and ``bias`` (K,).
        adapter: state dict of an ARC adapter, in PEFT's naming.
        r: rank.
        variant: ``arc`` or ``arc_att``.
        ffn_placement: where the FFN adapter sits, as in ``ArcConfig``.
    """

    architecture: str
    arguments: dict[str, Any]
    backbone: dict[str, Tensor]
    head: dict[str, Tensor]
    adapter: dict[str, Tensor]
    r: int
    variant: str
    ffn_placement: str


def check_keys(state: Mapping[str, Tensor], expected: Mapping[str, Shape]) -> None:
    """Refuse a state dict that doesn't have exactly these keys and shapes.

    Raises:
        UserError: keys are missing, unexpected or misshapen; some of each are named.
    """
    problems = {
        "missing": [key for key in expected if key not in state],
        "unexpected": [key for key in state if key not in expected],
        "wrong shape": [
            f"{key} {tuple(state[key].shape)} for {_shown(shape)}"
            for key, shape in expected.items()
            if key in state and not _fits(tuple(state[key].shape), shape)
        ],
    }
    if any(problems.values()):
        listed = "; ".join(f"{what}: {_some(keys)}" for what, keys in problems.items() if keys)
        raise UserError(f"this official checkpoint doesn't fit: {listed}.")


def length(state: Mapping[str, Tensor], key: str, dim: int = 0) -> int | None:
    """A length that the rest of a state dict follows from; None where the key isn't there."""
    found = state.get(key)
    return found.shape[dim] if found is not None and found.ndim > dim else None


def _fits(found: tuple[int, ...], expected: Shape) -> bool:
    return len(found) == len(expected) and all(
        want is None or have == want for have, want in zip(found, expected, strict=True)
    )


def _shown(shape: Shape) -> str:
    return "(" + ", ".join("any" if length is None else str(length) for length in shape) + ")"


def _some(keys: list[str], most: int = 4) -> str:
    more = f" and {len(keys) - most:,} more" if len(keys) > most else ""
    return ", ".join(keys[:most]) + more
