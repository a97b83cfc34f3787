"""Defaults for 1 to 16 images a class, where a recipe says nothing else. No torch.

docs/few.md says how they were chosen.
"""

import statistics
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from arcvit.data.config import DataConfig
from arcvit.data.task import Split

FEW = 16
"""With more images of a class the defaults are those of any run."""
_BY_METHOD: Mapping[str, Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        # The head alone: an epoch of one batch is one small step, and costs next to nothing on
        # features that are computed once.
        "linear": {"engine": {"epochs": 100}, "data": {"augment": "none"}},
    }
)

Count = Callable[[Mapping[str, Any]], int]
"""Tells how many images of a class the keys of a recipe let a run learn from."""


def few_shot_defaults(values: Mapping[str, Any], count: Count | None = None) -> dict[str, Any]:
    """What keys of a recipe are where they aren't given; nothing where it isn't of few images.

    Args:
        values: keys of a recipe, as in YAML.
        count: asked where no shots are given and something depends on it; None: then they aren't
            few. Presets of benchmarks and several labels an image have the defaults of any run.
    """
    own, data = _BY_METHOD.get(values.get("method", ""), {}), values.get("data", {})
    images = data.get("shots")
    if images is None and count is not None and _is_open(own, values):
        images = count(values)
    return dict(own) if images is not None and images <= FEW else {}


def has_few_shot_defaults(method: str) -> bool:
    """Whether something of a method is another with few images."""
    return method in _BY_METHOD


def count_images(values: Mapping[str, Any]) -> int:
    """Images of a class, the median over classes, that a recipe of these keys learns from.

    Raises:
        UserError: the images can't be opened.
    """
    from arcvit.data.readers.layouts import open_task  # a tenth of a second, hardly ever needed

    data = DataConfig(**values["data"])
    task = open_task(data.path, data.opening(), tolerant=data.check == "warn")
    with_val = data.fit_on == "trainval" or values.get("folds") is not None
    return images_of_a_class(task.trainval() if with_val else task.split("train"))


def images_of_a_class(split: Split) -> int:
    """Images of a class in a single-label split: the median over its classes."""
    return int(statistics.median(Counter(split.labels).values()))


def _is_open(own: Mapping[str, Mapping[str, Any]], values: Mapping[str, Any]) -> bool:
    """Whether how few images there are decides anything, and there are images to count."""
    data = values.get("data", {})
    return (
        "path" in data
        and data.get("preset", DataConfig.preset) == DataConfig.preset
        and values.get("task", "single") == "single"
        and any(key not in values.get(name, {}) for name, keys in own.items() for key in keys)
    )
