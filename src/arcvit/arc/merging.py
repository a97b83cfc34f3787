"""Fold adapters at all sites of a model, or at none."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from arcvit.arc.layer import ArcLayer


@contextmanager
def all_or_none(layers: Sequence[ArcLayer]) -> Iterator[None]:
    """Within the context adapters are folded; an error leaves what was folded before, and no more.

    Args:
        layers: all sites of the model.

    Raises:
        ValueError: a site can't be folded.
    """
    for layer in layers:
        layer.check_foldable()
    before = [list(layer.merged_adapters) for layer in layers]
    try:
        yield
    except ValueError:
        for layer, earlier in zip(layers, before, strict=True):
            if layer.merged_adapters != earlier:
                layer.unmerge()
                layer.merge(adapter_names=earlier)
        raise


def folded_adapters(layers: Sequence[ArcLayer]) -> list[str]:
    """The adapters that are folded in, in the order they were."""
    return list(dict.fromkeys(name for layer in layers for name in layer.merged_adapters))
