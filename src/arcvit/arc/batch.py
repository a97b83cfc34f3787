"""Set a model up for a mixed batch, and set it back whatever happens."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from peft.utils.other import ModulesToSaveWrapper
from torch import Tensor, nn

from arcvit.arc.layer import ArcLayer
from arcvit.arc.mixture import (
    BASE,
    Mixture,
    ProjectionTable,
    RowAdapters,
    RowIndex,
    Untouched,
    index_rows,
    row_logits,
    row_vectors,
)


@contextmanager
def mixed_batch(model: nn.Module, names: Sequence[str], known: Sequence[str]) -> Iterator[None]:
    """Within the context, row i of a batch runs with adapter ``names[i]`` and its own head.

    Args:
        model: the model with ARC layers.
        names: an adapter for each row; ``__base__`` for none.
        known: the adapters there are.

    Raises:
        ValueError: a name that isn't known, adapters that are folded in or disabled, or a saved
            module that can't be mixed.
    """
    try:
        distinct, rows = index_rows(names, lambda name: name in known)
    except ValueError as error:
        raise ValueError(f"{error}: expected {BASE!r} or one of {', '.join(known)}.") from None
    layers = [module for module in model.modules() if isinstance(module, ArcLayer)]
    if any(layer.merged for layer in layers):
        raise ValueError("adapters are folded into the weights: unmerge them to mix a batch.")
    heads = [module for module in model.modules() if isinstance(module, ModulesToSaveWrapper)]
    for head in heads:
        _check_head(head)
    row_of = RowIndex(rows, next(model.parameters()).device)
    table = ProjectionTable(row_of)
    hooks = []
    try:
        for layer in layers:
            layer.mixture = _rows_at(layer, distinct, row_of, table)
        for head in heads:
            hooks.append(head.register_forward_hook(_HeadHook(distinct, row_of)))
        yield
    finally:
        for layer in layers:
            layer.mixture = None
        for hook in hooks:
            hook.remove()


def check_batch(names: Sequence[str], inputs: Sequence[Any]) -> None:
    """Refuse a batch that has more or fewer rows than names.

    Raises:
        ValueError: the numbers differ.
    """
    first = next((value for value in inputs if isinstance(value, Tensor)), None)
    if first is not None and len(first) != len(names):
        raise ValueError(
            f"adapter_names has {len(names)} names for a batch of {len(first)} rows: expected one"
            " name a row."
        )


def split_logits(logits: Tensor, model: nn.Module, names: Sequence[str]) -> list[Tensor]:
    """The logits of a mixed batch row by row, without padding: a list of (k_i,) tensors.

    Args:
        logits: (B, K), padded with -inf.
        model: the model they came from.
        names: the adapter of each row.
    """
    sizes = None
    for module in model.modules():
        if isinstance(module, ModulesToSaveWrapper):
            sizes = [_head_of(module, name).out_features for name in names]
    if sizes is None:
        return list(logits)
    return [row[:size] for row, size in zip(logits, sizes, strict=True)]


def _rows_at(
    layer: ArcLayer, names: Sequence[str], row_of: RowIndex, table: ProjectionTable
) -> Mixture:
    """The adapters of all rows at a site."""
    coefficients = dict(layer.arc_coefficients.items())
    held = [name for name in names if name in coefficients]
    if not held:
        return Untouched()
    r = max(layer.r[name] for name in held)
    holders = tuple(layer.projection_holder.get(name) for name in names)
    biases = dict(layer.arc_bias.items())
    row_coefficients = row_vectors([coefficients.get(name) for name in names], row_of, r)
    assert row_coefficients is not None
    down = table.rows(
        ("down", r, holders),
        lambda: [layer.down(name) if name in coefficients else None for name in names],
        (layer.width, r),
    )
    if any(layer.has_own_up(name) for name in held):
        up = table.rows(
            ("up", r, holders),
            lambda: [layer.up(name) if name in coefficients else None for name in names],
            (r, layer.width),
        )
    else:
        up = down.mT
    return RowAdapters(
        down=down,
        up=up,
        coefficients=row_coefficients,
        bias=row_vectors([biases.get(name) for name in names], row_of, layer.width),
    )


class _HeadHook:
    """Replaces a head's output by that of each row's own head."""

    def __init__(self, names: Sequence[str], row_of: RowIndex) -> None:
        self._names = names
        self._row_of = row_of

    def __call__(
        self, head: ModulesToSaveWrapper, inputs: tuple[Tensor, ...], output: Tensor
    ) -> Tensor:
        layers = [_head_of(head, name) for name in self._names]
        parts = [(layer.weight, layer.bias) for layer in layers]
        return row_logits(inputs[0], parts, self._row_of).to(output.dtype)


def _head_of(wrapper: ModulesToSaveWrapper, name: str) -> nn.Linear:
    saved = wrapper.modules_to_save
    return saved[name] if name in saved else wrapper.original_module  # noqa: SIM401


def _check_head(wrapper: ModulesToSaveWrapper) -> None:
    if not isinstance(wrapper.original_module, nn.Linear):
        raise ValueError(
            f"a mixed batch needs linear heads, but {type(wrapper.original_module).__name__} is"
            " among modules_to_save: run its adapters one at a time."
        )
