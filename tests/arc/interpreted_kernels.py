"""The Triton kernels against PyTorch's operations, run by Triton's interpreter on the CPU.

Triton decides when it is imported whether it interprets, so this needs a process of its own with
``TRITON_INTERPRET=1``: ``test_kernels.py`` runs it.
"""

import pytest
import torch
from torch import nn

from arcvit.arc import fused, kernels
from arcvit.arc.fused import norm_adapter

TOLERANCE = {torch.float32: 1e-5, torch.float16: 0.01}
"""The interpreter does not compute in bfloat16."""


@pytest.fixture
def interpreted(monkeypatch):
    """The kernels wherever the fused operation may take them; gives the shapes that they got."""
    used = []

    def instead(x):
        used.append(x.shape)
        return kernels

    monkeypatch.setattr(fused, "_kernels", instead)
    return used


def _run(x, norm, parts, dropout):
    given = [t for t in (x, *norm.parameters(), *parts) if t is not None and t.requires_grad]
    torch.manual_seed(3)
    y = norm_adapter(x, norm, *parts, dropout=dropout)
    weights = torch.linspace(-1, 1, y.numel()).to(y.dtype).view(y.shape)
    return [y, *torch.autograd.grad(y, given, weights)]


@pytest.mark.parametrize(
    ("shape", "r"), [((3, 7, 16), 1), ((70, 100), 20), ((2, 2, 3, 48), 50), ((0, 5, 32), 4)]
)
@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize(
    ("bias", "separate", "dropout"), [(True, False, 0.0), (True, True, 0.3), (False, False, 0.5)]
)
@pytest.mark.parametrize("affine", [False, True])
def test_kernels_give_what_pytorch_gives(request, shape, r, dtype, bias, separate, dropout, affine):
    torch.manual_seed(0)
    d = shape[-1]
    norm = nn.LayerNorm(d, elementwise_affine=affine).to(dtype).requires_grad_(False)
    for parameter in norm.parameters():
        nn.init.normal_(parameter, mean=1.0, std=0.3)
    sizes = [(d, r), (r,), (r, d) if separate else None, (d,) if bias else None]
    parts = [
        None if s is None else (torch.randn(s) / d**0.5).to(dtype).requires_grad_() for s in sizes
    ]
    x = (torch.randn(shape) * 2 + 1).to(dtype).requires_grad_()
    expected = _run(x, norm, parts, dropout)
    used = request.getfixturevalue("interpreted")
    found = _run(x, norm, parts, dropout)
    assert len(used) == 2, "forward and backward did not take the kernels"
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        scale = max(theirs.abs().max().item(), 1.0) if theirs.numel() else 1.0
        torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE[dtype] * scale)


def test_rows_that_are_not_contiguous(interpreted):
    torch.manual_seed(0)
    norm = nn.LayerNorm(16).requires_grad_(False)
    parts = [torch.randn(16, 2, requires_grad=True), torch.randn(2, requires_grad=True), None, None]
    x = torch.randn(16, 5).mT.requires_grad_()
    found = _run(x, norm, parts, 0.0)
    expected = _run(x.contiguous(), norm, parts, 0.0)
    torch.testing.assert_close(found, expected)
    assert found[0].is_contiguous()


def test_a_norm_that_learns_takes_pytorchs_backward(interpreted):
    torch.manual_seed(0)
    norm, x = nn.LayerNorm(16), torch.randn(5, 16, requires_grad=True)
    parts = [torch.randn(16, 2, requires_grad=True), torch.randn(2, requires_grad=True), None, None]
    y = norm_adapter(x, norm, *parts)
    y.square().sum().backward()
    found = norm.weight.grad.clone()
    norm.weight.grad = None
    n = norm(x)
    (n + (n @ (parts[0] * parts[1])) @ parts[0].mT).square().sum().backward()
    torch.testing.assert_close(found, norm.weight.grad, rtol=1e-4, atol=1e-4)
