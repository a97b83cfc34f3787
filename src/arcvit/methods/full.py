"""Full fine-tuning: every weight of the model."""

from typing import Any

from arcvit.methods.linear import NoOptions
from arcvit.methods.spec import MethodSpec


def build(model: Any, options: NoOptions, head: str) -> Any:
    """The model itself: nothing is saved apart from it."""
    del options, head
    return model.requires_grad_(True)


SPEC = MethodSpec(
    name="full",
    summary="everything",
    options=NoOptions,
    build=build,
    lr=1e-4,
    folds=True,
)
