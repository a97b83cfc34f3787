"""LayerNorm and adapter as one operation, against plain autograd."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from arcvit.arc import fused
from arcvit.arc.bottleneck import drawn
from arcvit.arc.functional import Factors, adapter_update
from arcvit.arc.fused import computed_again, output_again

TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-5, torch.bfloat16: 0.06, torch.float16: 0.01}


def _parts(d=12, r=3, *, dtype=torch.float64, separate=False, bias=True, affine=True, adapter=None):
    torch.manual_seed(0)
    norm = nn.LayerNorm(d, elementwise_affine=affine).to(dtype)
    for parameter in norm.parameters():
        nn.init.normal_(parameter, mean=0.5)

    def made(*shape):
        return (torch.randn(shape, dtype=torch.float64) / d**0.5).to(adapter or dtype)

    parts = [made(d, r), made(r), made(r, d) if separate else None, made(d) if bias else None]
    return norm, [None if p is None else p.requires_grad_() for p in parts]


def _factors(down, coefficients, up, bias):
    return Factors(down, coefficients, down.mT if up is None else up, bias)


def norm_adapter(x, norm, *parts, dropout=0.0):
    return fused.norm_adapter(x, norm, _factors(*parts), dropout=dropout)


def _plain(x, norm, *parts):
    n = norm(x)
    factors = _factors(*parts)
    return (n + adapter_update(n.to(factors.down.dtype), factors)).to(n.dtype)


def _gradients(function, x, norm, parts):
    y = function(x, norm, *parts)
    inputs = [t for t in (x, *norm.parameters(), *parts) if t is not None and t.requires_grad]
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
    return y, torch.autograd.grad(y, inputs, weights)


@pytest.mark.parametrize(
    ("shape", "r"),
    [((2, 5, 12), 1), ((7, 12), 12), ((2, 3, 5, 37), 7), ((1, 1, 130), 128), ((0, 4, 12), 3)],
)
@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_outputs_and_gradients_equal_plain_autograd(shape, r, separate, dtype):
    norm, parts = _parts(shape[-1], r, dtype=dtype, separate=separate)
    x = torch.randn(shape, dtype=torch.float64).to(dtype).requires_grad_()
    y, found = _gradients(norm_adapter, x, norm, parts)
    expected_y, expected = _gradients(_plain, x, norm, parts)
    for ours, theirs in zip((y, *found), (expected_y, *expected), strict=True):
        assert ours.dtype == theirs.dtype
        scale = theirs.abs().max().item() if theirs.numel() else 1.0
        torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE[dtype] * max(scale, 1.0))


@pytest.mark.parametrize(
    ("separate", "bias", "affine"),
    [
        (False, True, True),
        pytest.param(True, False, True, marks=pytest.mark.slow),
        pytest.param(False, False, False, marks=pytest.mark.slow),
    ],
)
def test_first_and_second_derivatives_are_right(separate, bias, affine):
    norm, parts = _parts(5, 2, separate=separate, bias=bias, affine=affine)
    x = torch.randn(1, 2, 5, dtype=torch.float64, requires_grad=True)
    given = [x, *norm.parameters(), *(p for p in parts if p is not None)]

    def run(*_):
        torch.manual_seed(1)  # the same dropout each time
        return norm_adapter(x, norm, *parts, dropout=0.3)

    assert torch.autograd.gradcheck(run, given)
    assert torch.autograd.gradgradcheck(run, given)


def test_only_what_needs_a_gradient_gets_one():
    norm, parts = _parts()
    norm.requires_grad_(False)
    x = torch.randn(4, 12, dtype=torch.float64)
    parts[0].requires_grad_(False)
    norm_adapter(x, norm, *parts).sum().backward()
    assert x.grad is None and norm.weight.grad is None and parts[0].grad is None
    assert parts[1].grad is not None and parts[3].grad is not None


def test_input_that_is_not_contiguous():
    norm, parts = _parts()
    x = torch.randn(12, 5, 2, dtype=torch.float64).permute(2, 1, 0).requires_grad_()
    y, found = _gradients(norm_adapter, x, norm, parts)
    expected_y, expected = _gradients(_plain, x, norm, parts)
    torch.testing.assert_close((y, *found), (expected_y, *expected))


@pytest.mark.parametrize("norm_dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("autocast", [False, True])
def test_adapter_in_another_precision_than_the_norm(norm_dtype, autocast):
    norm, parts = _parts(dtype=norm_dtype, adapter=torch.float32)
    x = torch.randn(6, 12).to(norm_dtype).requires_grad_()

    def both(function):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            y = function(x, norm, *parts)
        y.float().square().sum().backward()
        gradients = [x.grad, *(p.grad for p in parts if p is not None)]
        x.grad = None
        for part in parts:
            if part is not None:
                part.grad = None
        return y, gradients

    (y, found), (expected_y, expected) = both(norm_adapter), both(_plain)
    if autocast:  # what the linear layers behind the site take
        assert y.dtype == torch.bfloat16
        y = y.to(expected_y.dtype)
    for ours, theirs in zip((y, *found), (expected_y, *expected), strict=True):
        assert ours.dtype == theirs.dtype
        scale = max(theirs.abs().max().item(), 1.0)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0.04 * scale)


def test_dropout_acts_in_the_bottleneck_and_keeps_the_mean():
    norm, parts = _parts(8, 4)
    x = torch.randn(1, 8, dtype=torch.float64).expand(20_000, 8)
    dropped = norm_adapter(x, norm, *parts, dropout=0.5).mean(0)
    kept = norm_adapter(x[:1], norm, *parts)[0]
    assert (dropped - kept).abs().max() < 0.05


@pytest.mark.parametrize("dropout", [1e-9, 0.1, 0.5, 0.97])
def test_dropout_keeps_its_share_of_every_row_and_column(dropout):
    rows, r = 4_096, 51
    kept = drawn(torch.empty(rows, r), dropout).double()
    assert kept.shape == (rows, r)
    for along, count in ((0, rows), (1, r), ((0, 1), rows * r)):
        deviation = (kept.mean(along) - (1 - dropout)).abs().max()
        assert deviation <= 6 * (max(dropout * (1 - dropout), 1e-4) / count) ** 0.5


def test_dropout_of_almost_all():
    assert drawn(torch.empty(100, 10), 1 - 1e-9).sum() < 10


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_draws_the_same_dropout(reentrant):
    norm, parts = _parts()
    x = torch.randn(3, 12, dtype=torch.float64, requires_grad=True)
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(2)

        def run(x):
            return norm_adapter(x, norm, *parts, dropout=0.4)

        y = checkpoint(run, x, use_reentrant=reentrant) if recompute else run(x)
        y.square().sum().backward()
        gradients.append([x.grad, *(p.grad for p in parts if p is not None)])
        for tensor in (x, *parts):
            if tensor is not None:
                tensor.grad = None
    torch.testing.assert_close(gradients[0], gradients[1])


def test_one_site_used_twice():
    norm, parts = _parts()
    x = torch.randn(3, 12, dtype=torch.float64, requires_grad=True)
    _, found = _gradients(
        lambda x, n, *p: norm_adapter(norm_adapter(x, n, *p), n, *p), x, norm, parts
    )
    _, expected = _gradients(lambda x, n, *p: _plain(_plain(x, n, *p), n, *p), x, norm, parts)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("bias", [False, True])
def test_keeps_the_input_bottleneck_statistics_projections_and_a_byte_for_dropout(bias):
    norm, parts = _parts(64, 4, dtype=torch.float32, bias=bias)
    x = torch.randn(10, 64, requires_grad=True)
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        norm_adapter(x, norm, *parts, dropout=0.1)
    for owned in (x, *norm.parameters(), *parts):
        if owned is not None:
            kept.pop(owned.untyped_storage().data_ptr(), None)
    width = 4 + bias
    small = 2 * 64 * width * 4 + 4 * 4  # the projections, and c with dropout's factor
    assert sum(kept.values()) == 10 * (width * 4 + 2 * 4 + width) + small


@pytest.mark.parametrize("mean", [0.0, 30.0])
def test_rows_far_from_zero_keep_their_precision(mean):
    norm, parts = _parts(64, 4, dtype=torch.float32)
    x = (torch.randn(50, 64) + mean).requires_grad_()
    _, found = _gradients(norm_adapter, x, norm, parts)
    _, expected = _gradients(
        _plain, x.double(), norm.double(), [None if p is None else p.double() for p in parts]
    )
    for ours, theirs in zip(found, expected, strict=True):
        scale = theirs.abs().max().item()
        torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=1e-4 * scale)


def test_output_is_given_again_exactly():
    norm, parts = _parts(dtype=torch.float32)
    x = torch.randn(2, 3, 12, requires_grad=True)
    y = norm_adapter(x, norm, *parts, dropout=0.3)
    assert torch.equal(output_again(computed_again(y)), y)
    assert computed_again(F.relu(y)) is None


def test_without_gradients_nothing_is_recorded():
    norm, parts = _parts()
    x = torch.randn(3, 12, dtype=torch.float64)
    with torch.no_grad():
        assert norm_adapter(x, norm, *parts).grad_fn is None
    assert isinstance(norm_adapter(x, norm, *parts).grad_fn, fused.NormAdapter._backward_cls)
