"""The logits of a backbone, whoever made it."""

from typing import Any

from torch import Tensor


def logits_of(output: Any) -> Tensor:
    """The logits (B, K) in what a model gives: transformers' hold them in a record."""
    logits: Tensor = getattr(output, "logits", output)
    return logits
