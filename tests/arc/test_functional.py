"""The equations, against their plain forms in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from arcvit.arc.functional import Factors, adapt_rows, adapter_update, lora_factors

sizes = st.integers(min_value=1, max_value=9)


def values(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def factors(d: int, r: int, *, full_core: bool = False, bias: bool = True) -> Factors:
    core = values(r, r) if full_core else values(r)
    return Factors(values(d, r), core, values(r, d, seed=1), values(d) if bias else None)


def matrix(core: torch.Tensor) -> torch.Tensor:
    return core.diag() if core.ndim == 1 else core


@settings(deadline=None, max_examples=40)
@given(d=sizes, r=sizes, full_core=st.booleans(), bias=st.booleans())
def test_the_update_is_the_equation(d: int, r: int, full_core: bool, bias: bool) -> None:
    x, f = values(2, 3, d), factors(d, r, full_core=full_core, bias=bias)
    expected = torch.einsum("bnd,dr,rs,se->bne", x, f.down, matrix(f.core), f.up)
    torch.testing.assert_close(
        adapter_update(x, f), expected if f.bias is None else expected + f.bias
    )


@settings(deadline=None, max_examples=40)
@given(d=sizes, r=sizes, o=sizes, full_core=st.booleans())
def test_a_linear_layer_absorbs_the_adapter_as_lora(
    d: int, r: int, o: int, full_core: bool
) -> None:
    x, f, weight, bias = (
        values(2, 3, d),
        factors(d, r, full_core=full_core),
        values(o, d),
        values(o),
    )
    expected = (x + adapter_update(x, f)) @ weight.mT + bias
    a, b, shift = lora_factors(weight, f)
    assert (a.shape, b.shape) == ((r, d), (o, r))
    torch.testing.assert_close(x @ (weight + b @ a).mT + bias + shift, expected)


def test_the_papers_fold_is_symmetric_in_the_projection() -> None:
    f, weight = factors(7, 3), values(5, 7)
    a, b, _ = lora_factors(weight, f._replace(up=f.down.mT))
    torch.testing.assert_close(b @ a, weight @ f.down @ torch.diag(f.core) @ f.down.mT)


@pytest.mark.parametrize("shape", [(4,), (2, 2, 3, 4), (0, 3, 4)])
def test_any_leading_shape(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64)
    assert adapter_update(x, factors(4, 2)).shape == shape


def test_dropout_acts_in_the_bottleneck_while_training_only() -> None:
    x, f = values(2, 3, 4), factors(4, 300, bias=False)
    still = adapter_update(x, f, dropout=0.5, training=False)
    torch.testing.assert_close(still, adapter_update(x, f))
    torch.manual_seed(0)
    moved = adapter_update(x, f, dropout=0.5, training=True)
    torch.manual_seed(0)
    bottleneck = torch.nn.functional.dropout((x @ f.down) * f.core, 0.5)
    torch.testing.assert_close(moved, bottleneck @ f.up)


@pytest.mark.parametrize("full_core", [False, True])
@pytest.mark.parametrize("r", [1, 3])
def test_rows_have_adapters_of_their_own(full_core: bool, r: int) -> None:
    of_row = [
        factors(4, r, full_core=full_core)._replace(down=values(4, r, seed=i)) for i in (0, 5)
    ]
    rows = Factors(
        torch.stack([f.down for f in of_row]),
        torch.stack([f.core if full_core else f.core[None] for f in of_row]),
        of_row[0].up,
        torch.stack([f.bias[None] for f in of_row if f.bias is not None]),
    )
    x = values(4, 3, 4)  # two windows for each row
    expected = [x[i] + adapter_update(x[i], of_row[i // 2]) for i in range(4)]
    torch.testing.assert_close(adapt_rows(x, rows), torch.stack(expected))
    torch.testing.assert_close(adapt_rows(x.clone(), rows, in_place=True), torch.stack(expected))
