"""What a GPU is spared: launches and passes over memory.

A step of an adapted backbone is a thousand small kernels in eager mode, and the host takes longer
to launch them than the device to run them. Compiling a block fuses what lies between its products;
one compiled block serves all blocks of its kind. Capturing a step in a CUDA graph, optimizer
included, leaves the host one launch a step. Frozen weights are cast to autocast's dtype once, where
autocast would cast them anew in every step, as nothing remembers the cast of what needs no
gradient.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import torch._dynamo
import torch.nn.functional as F
from torch import Tensor, nn

from arcvit.arc.prepared import Sites, Stacked, fused_sites, prepared, stacked

RECOMPILE_LIMIT = 64
"""Versions of a block's code a process may compile: training, evaluation, other adapters and sizes.

They share one limit, 8 by default, beyond which Dynamo would give up."""

INDUCTOR = {"realize_acc_reads_threshold": 16}
"""Beyond 8 tensors read, Inductor would store the gradient of a norm and the sum of it with the
residual stream's: one more pass over memory in fp32 for each block of an adapted backbone."""

WARM_UP = 3
"""Steps before a capture, in which libraries choose kernels and the optimizer makes its state."""


def repeated_blocks(model: nn.Module) -> list[nn.Module]:
    """The blocks a model repeats: modules of one class and shape, side by side in one container.

    Only the outermost are given; stages of different width (Swin's) are gone into.
    """
    found: list[nn.Module] = []
    for child in model.children():
        parts = list(child.children())
        if isinstance(child, (nn.Sequential, nn.ModuleList)) and len(parts) > 1 and _alike(parts):
            found.extend(parts)
        else:
            found.extend(repeated_blocks(child))
    return found


@contextmanager
def compiled_blocks(
    model: nn.Module, *, backend: str = "inductor"
) -> Iterator[Callable[[Stacked], Stacked]]:
    """Within the context, the repeated blocks of a model run compiled, without a graph break.

    A block that can't be compiled whole raises what Dynamo raises, when it is first called. Gives
    what compiles a function in the same way.
    """

    how: dict[str, Any] = {"backend": backend, "fullgraph": True, "dynamic": False}
    if backend == "inductor":
        how["options"] = INDUCTOR

    def compiled(function: Stacked) -> Stacked:
        return torch.compile(function, **how)

    blocks = repeated_blocks(model)
    with ExitStack() as restored:
        restored.enter_context(torch._dynamo.config.patch(recompile_limit=RECOMPILE_LIMIT))
        for block in blocks:
            before = block._compiled_call_impl
            restored.callback(setattr, block, "_compiled_call_impl", before)
            block.compile(**how)
        yield compiled


@contextmanager
def frozen_weights_in(model: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Within the context, frozen linear and convolution layers hold their weights in ``dtype``.

    Under autocast to that dtype the results stay equal bit by bit. The originals come back after
    it, also when it is left by an exception; nothing should be folded, saved or identified within.
    """
    held: list[tuple[nn.Parameter, Tensor]] = []
    for module in model.modules():
        if type(module) in (nn.Linear, nn.Conv2d):
            parameters = list(module.parameters(recurse=False))
            if not any(p.requires_grad or p.dtype != torch.float32 for p in parameters):
                held.extend((p, p.data) for p in parameters)
    try:
        for parameter, original in held:
            parameter.data = original.to(dtype)
        yield
    finally:
        for parameter, original in held:
            parameter.data = original


@dataclass(kw_only=True)
class Step:
    """A whole training step on one device: forward and backward pass, clipping, optimizer.

    Attributes:
        model: what is trained.
        optimizer: of what is trained.
        clip_grad: largest norm of the gradient; 0: no clipping.
        label_smoothing: share of the target spread over all classes.
        autocast: gives the context of the forward pass.
        make: what makes the projections of ARC's sites: ``stacked``, or a compiled version of it.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    clip_grad: float = 0.0
    label_smoothing: float = 0.0
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext
    make: Stacked = stacked
    trained: list[nn.Parameter] = field(init=False)
    sites: Sites = field(init=False)

    def __post_init__(self) -> None:
        self.sites = fused_sites(self.model)
        self.trained = [p for p in self.model.parameters() if p.requires_grad]

    def __call__(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """One step; rows labelled -100 are padding.

        Args:
            pixels: the model's input, (B, C, H, W).
            labels: classes, (B,).

        Returns:
            The mean loss and the number of correct rows, on the device.
        """
        with prepared(self.sites, pixels, autocast=self.autocast, make=self.make):
            with self.autocast():
                logits = self.model(pixels)
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=self.label_smoothing)
            loss.backward()
        if self.clip_grad:
            nn.utils.clip_grad_norm_(self.trained, self.clip_grad)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach(), (logits.detach().argmax(-1) == labels).sum()


class CapturedStep:
    """A step captured in a CUDA graph, for batches of one shape.

    What the capture's warm-up trained is undone. The optimizer must be capturable, with its rates
    in tensors; whoever changes the model, a flag of it or where its parameters lie captures anew.

    Args:
        step: the step.
        pixels: a batch of the shape it will get, (B, C, H, W).
        labels: (B,).
    """

    def __init__(self, step: Step, pixels: Tensor, labels: Tensor) -> None:
        self.pixels, self.labels = pixels.clone(), labels.clone()
        self.addresses = [p.data_ptr() for p in step.model.parameters()]
        self.model = step.model
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream), _undone(step):
            for _ in range(WARM_UP):
                step(self.pixels, self.labels)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        # Threads that pin memory for the next batch may go on meanwhile.
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            self.results = step(self.pixels, self.labels)

    def __call__(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """As ``Step.__call__``."""
        self.pixels.copy_(pixels, non_blocking=True)
        self.labels.copy_(labels, non_blocking=True)
        self.graph.replay()
        loss, correct = self.results
        return loss.clone(), correct.clone()

    def is_current(self) -> bool:
        """Whether the parameters lie where they lay when the step was captured."""
        return self.addresses == [p.data_ptr() for p in self.model.parameters()]


@contextmanager
def _undone(step: Step) -> Iterator[None]:
    """Within the context steps may be taken; what they change is as it was after it."""
    optimizer = step.optimizer
    state = {p: {k: v.clone() for k, v in s.items()} for p, s in optimizer.state.items()}
    changing = [*step.trained, *step.model.buffers()]
    values = [t.detach().clone() for t in changing]
    random = torch.cuda.get_rng_state()
    try:
        yield
    finally:
        torch.cuda.set_rng_state(random)
        with torch.no_grad():
            for tensor, value in zip(changing, values, strict=True):
                tensor.copy_(value)
            for parameter, entries in optimizer.state.items():
                for name, entry in entries.items():
                    # In place, as the graph will read these; new ones started from zero.
                    entry.copy_(state[parameter][name]) if parameter in state else entry.zero_()


def _alike(blocks: list[nn.Module]) -> bool:
    """Whether modules are of one class, and their own parameters of the same shapes."""
    first = blocks[0]
    shapes = [p.shape for p in first.parameters() if not p.requires_grad]
    return bool(shapes) and all(
        type(block) is type(first)
        and [p.shape for p in block.parameters() if not p.requires_grad] == shapes
        for block in blocks
    )
