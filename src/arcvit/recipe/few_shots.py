"""Defaults for 1 to 16 images a class, where a recipe says nothing else. No torch.

docs/few.md says how they were chosen.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

FEW = 16
"""With more images of a class the defaults are those of any run."""
_BY_METHOD: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # The head alone: an epoch of one batch is one small step, and costs next to nothing on
        # features that are computed once.
        "linear": {"engine": {"epochs": 100}, "data": {"augment": "none"}},
    }
)


def few_shot_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """What keys of a recipe are where they aren't given; nothing where it isn't of few shots.

    Args:
        values: keys of a recipe, as in YAML.
    """
    shots = values.get("data", {}).get("shots")
    if shots is None or shots > FEW:
        return {}
    return dict(_BY_METHOD.get(values.get("method", ""), {}))
