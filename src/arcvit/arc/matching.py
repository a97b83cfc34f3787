"""Which modules a config targets: as PEFT matches names, with a block's index read at any depth."""

import re
from types import SimpleNamespace
from typing import Any

from peft.tuners.tuners_utils import check_target_module_exists

from arcvit.arc.config import ArcConfig


def match_target(config: ArcConfig, name: str) -> Any:
    """What PEFT's own matching gives, but for ``layers_to_transform``.

    PEFT reads a block's index from ``model.blocks.3.norm1`` but not from ``blocks.3.norm1``, and
    ignores ``layers_to_transform`` for a module that is named in full, as all sites are that are
    found by themselves.

    Args:
        config: the adapter's config.
        name: qualified name of a module.

    Returns:
        Something true where the module is targeted; PEFT's own marker where it is excluded.
    """
    without_layers = SimpleNamespace(
        target_modules=config.target_modules,
        exclude_modules=config.exclude_modules,
        modules_to_save=config.modules_to_save,
    )
    found = check_target_module_exists(without_layers, name)
    chosen = config.layers_to_transform
    if found is not True or chosen is None or chosen == []:
        return found
    index = _block_index(name, config.layers_pattern)
    return index is not None and index in ([chosen] if isinstance(chosen, int) else chosen)


def _block_index(name: str, patterns: list[str] | str | None) -> int | None:
    for pattern in [patterns] if isinstance(patterns, str) else patterns or [""]:
        before = rf"(?:^|\.){pattern}\." if pattern else r"(?:^|\.)"
        if match := re.search(rf"{before}(\d+)\.", name):
            return int(match.group(1))
    return None
