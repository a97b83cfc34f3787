"""The equations, against their plain forms in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from arcvit.arc.functional import adapter_update, fold_bias, fold_weight

sizes = st.integers(min_value=1, max_value=9)


def parts(d: int, r: int, o: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)

    def values(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return (
        values(2, 3, d),
        values(d, r),
        values(r),
        values(r, d),
        values(d),
        values(o, d),
        values(o),
    )


@settings(deadline=None, max_examples=40)
@given(d=sizes, r=sizes, o=sizes)
def test_the_update_is_the_equation(d: int, r: int, o: int) -> None:
    x, down, c, up, b, _, _ = parts(d, r, o)
    expected = torch.einsum("bnd,dr,r,re->bne", x, down, c, up) + b
    torch.testing.assert_close(adapter_update(x, down, c, up, b), expected)
    torch.testing.assert_close(adapter_update(x, down, c, up), expected - b)


@settings(deadline=None, max_examples=40)
@given(d=sizes, r=sizes, o=sizes)
def test_a_linear_layer_absorbs_the_adapter(d: int, r: int, o: int) -> None:
    x, down, c, up, b, weight, bias = parts(d, r, o)
    adapted = x + adapter_update(x, down, c, up, b)
    expected = adapted @ weight.mT + bias
    folded_weight = weight + fold_weight(weight, down, c, up)
    folded_bias = bias + fold_bias(weight, b)
    torch.testing.assert_close(x @ folded_weight.mT + folded_bias, expected)


def test_the_papers_fold_is_symmetric_in_the_projection() -> None:
    _, down, c, _, _, weight, _ = parts(7, 3, 5)
    expected = weight @ down @ torch.diag(c) @ down.mT
    torch.testing.assert_close(fold_weight(weight, down, c, down.mT), expected)


@pytest.mark.parametrize("shape", [(4,), (2, 4), (2, 3, 4), (2, 2, 3, 4), (0, 3, 4)])
def test_any_leading_shape(shape: tuple[int, ...]) -> None:
    _, down, c, up, b, _, _ = parts(4, 2, 1)
    x = torch.randn(shape, dtype=torch.float64)
    assert adapter_update(x, down, c, up, b).shape == shape


def test_dropout_acts_in_the_bottleneck_while_training_only() -> None:
    x, down, c, up, _, _, _ = parts(4, 300, 1)
    still = adapter_update(x, down, c, up, dropout=0.5, training=False)
    torch.testing.assert_close(still, adapter_update(x, down, c, up))
    torch.manual_seed(0)
    moved = adapter_update(x, down, c, up, dropout=0.5, training=True)
    torch.manual_seed(0)
    bottleneck = torch.nn.functional.dropout((x @ down) * c, 0.5)
    torch.testing.assert_close(moved, bottleneck @ up)
