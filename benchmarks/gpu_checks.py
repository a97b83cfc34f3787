"""Whether a device computes what it should: a site against float64, steps against eager ones."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from gpu_steps import Steps
from torch import Tensor, nn

from arcvit.arc.functional import Factors
from arcvit.arc.fused import norm_adapter

SITE = {"fp32": 1e-3, "bf16": 3e-2}
"""Largest deviations of a site that pass, by precision: of output and gradients, over their largest
value. bf16 has 8 bits."""

LOSS = {"capture": 1e-5, "blocks": 1e-2, "graph": 1e-2}
"""Largest deviations of a loss in each mode from eager that pass: a compiled block rounds less."""


def site(steps: Steps) -> dict[str, Any]:
    """Largest deviation of a site from float64, of output and gradients, over their largest."""
    d, r = (64, 10) if steps.quick else (768, 50)
    exact = _site(steps, torch.float64, d, r)
    found = {}
    for name, precision, compiled in (
        ("fp32 eager", torch.float32, False),
        ("bf16 eager", torch.bfloat16, False),
        ("bf16 compiled", torch.bfloat16, True),
    ):
        ours = _site(steps, precision, d, r, compiled=compiled)
        deviations = [(a - b).abs().max() / a.abs().max() for a, b in zip(exact, ours, strict=True)]
        found[name] = max(deviations).item()
    passed = all(value <= SITE[name.split(" ")[0]] for name, value in found.items())
    return {**found, "passed": passed}


def step(steps: Steps, modes: Sequence[str]) -> dict[str, Any]:
    """Losses of five steps in these modes, without dropout, and how far they are from eager's."""
    losses = {}
    for mode in dict.fromkeys(("eager", *modes)):
        torch.manual_seed(1)
        with steps.ready("arc", mode, 2 if steps.quick else 16, dropout=0.0) as ready:
            losses[mode] = [ready.run()[0].item() for _ in range(5)]
    found = {
        mode: max(abs(a / b - 1) for a, b in zip(values, losses["eager"], strict=True))
        for mode, values in losses.items()
        if mode != "eager"
    }
    passed = all(value <= LOSS[mode] for mode, value in found.items())
    learned = losses["eager"][-1] < losses["eager"][0]
    return {**found, "losses": losses, "passed": passed and learned}


def _site(
    steps: Steps, precision: torch.dtype, d: int, r: int, *, compiled: bool = False
) -> list[Tensor]:
    """Output and gradients of a site, in float64."""
    dtype = torch.float64 if precision == torch.float64 else torch.float32
    torch.manual_seed(0)
    made = partial(torch.randn, dtype=torch.float64)
    tensors = [made(4, 197, d), made(d, r) / d**0.5, made(r), made(r, d) / d**0.5, made(d)]
    given = [t.to(steps.device, dtype).requires_grad_() for t in tensors]
    norm = nn.LayerNorm(d).to(steps.device, dtype)
    run = norm_adapter
    if compiled:
        backend = "inductor" if steps.cuda else "aot_eager"
        run = torch.compile(run, backend=backend, fullgraph=True, dynamic=False)
    low = precision == torch.bfloat16
    with torch.autocast(steps.device, dtype=torch.bfloat16, enabled=low):
        y = run(given[0], norm, Factors(*given[1:]))
    weights = torch.linspace(-1, 1, y.numel(), device=y.device, dtype=torch.float64)
    loss = (y.double() * weights.view(y.shape)).sum()
    return [y.double(), *(g.double() for g in torch.autograd.grad(loss, given))]
