"""A training step captured in CUDA graphs: the host launches one graph, not a thousand kernels."""

import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from arcvit.engine.clock import Part
from arcvit.engine.objective import PADDING
from arcvit.engine.step import Results, Step

WARM_UP = 3
"""Steps before a capture, in which libraries choose kernels and the optimizer makes its state."""


class CapturedStep:
    """A step captured for batches of one size; smaller ones are padded.

    A step of one batch is one graph. One of several is two: forward and backward pass, which add to
    gradients that stay where they are, and the update. What the warm-up trained is undone.

    Augmentation stays outside. The optimizer's rates become tensors, which schedules fill in place.

    Args:
        step: the step.
        pixels: a batch of the size it is captured for, (B, C, H, W).
        labels: (B,) or (B, K).
        accumulate: batches in a step.
    """

    part: Part = "step"

    def __init__(self, step: Step, pixels: Tensor, labels: Tensor, *, accumulate: int = 1) -> None:
        self._step = step
        self._pixels, self._labels = pixels.clone(), labels.clone()
        self._share = torch.ones((), device=pixels.device)
        self._rates_in_tensors()
        with _beside(pixels.device), undone(step):
            for steps_left in reversed(range(WARM_UP)):
                with nullcontext() if steps_left else _waiting_refused(pixels.device):
                    step.learn(self._pixels, self._labels)
                    reached = [p for p in step.trained if p.grad is not None]
                    step.update()
        self._state = _state(step.model)
        self._whole = self._learn = self._update = None
        if accumulate == 1:
            self._whole = recorded(lambda: step(self._pixels, self._labels))
        else:
            for parameter in reached:
                parameter.grad = torch.zeros_like(parameter)
            self._learn = recorded(lambda: step.learn(self._pixels, self._labels, self._share))
            self._update = recorded(lambda: step.update(keep_gradients=True))

    def __call__(
        self, pixels: Tensor, labels: Tensor, share: float = 1.0, *, last: bool = True
    ) -> Results:
        """As ``Step.__call__``, for at most as many rows as it was captured for."""
        rows = len(labels)
        self._pixels[:rows].copy_(pixels, non_blocking=True)
        self._labels[:rows].copy_(labels, non_blocking=True)
        if rows < len(self._labels):
            self._labels[rows:].fill_(PADDING)
        if self._whole is not None:
            results = self._whole()
        else:
            assert self._learn is not None and self._update is not None
            self._share.fill_(share)
            results = self._learn()
            if last:
                self._update()
        # The next replay overwrites them.
        loss, correct = results
        return loss.clone(), correct.clone()

    def is_current(self) -> bool:
        """Whether the model is what was captured: its parameters' places, its modes, adapters."""
        return self._state == _state(self._step.model)

    def _rates_in_tensors(self) -> None:
        for group in self._step.optimizer.param_groups:
            group["lr"] = torch.tensor(float(group["lr"]), device=self._pixels.device)
            group["capturable"] = True


def recorded(function: Callable[[], Any]) -> Callable[[], Any]:
    """A function captured in a CUDA graph: gives the same tensors again, with new values in them.

    Capturing runs nothing. Threads that pin memory for the next batch may go on meanwhile.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        results = function()

    def replay() -> Any:
        graph.replay()
        return results

    return replay


@contextmanager
def undone(step: Step) -> Iterator[None]:
    """Within the context steps may be taken; what they change is as it was after it."""
    optimizer = step.optimizer
    state = {p: {k: v.clone() for k, v in s.items()} for p, s in optimizer.state.items()}
    changing = [*step.trained, *step.model.buffers()]
    values = [t.detach().clone() for t in changing]
    devices = {t.device for t in changing if t.device.type == "cuda"}
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        with torch.no_grad():
            for trained in step.trained:
                trained.grad = None
            for tensor, value in zip(changing, values, strict=True):
                tensor.copy_(value)
            for parameter, entries in optimizer.state.items():
                for name, entry in entries.items():
                    # In place, as the graph will read these; new ones started from zero.
                    entry.copy_(state[parameter][name]) if parameter in state else entry.zero_()


@contextmanager
def _beside(device: torch.device) -> Iterator[None]:
    """Within the context work is issued on a stream of its own, as a capture's warm-up must be."""
    if device.type != "cuda":
        yield
        return
    gc.collect()  # an autograd graph left over would draw another stream into the capture
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream(device).wait_stream(stream)


@contextmanager
def _waiting_refused(device: torch.device) -> Iterator[None]:
    """Within the context what makes the host wait is an error: a failed capture leaves traces."""
    if device.type != "cuda":
        yield
        return
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it may overlook some
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def _state(model: nn.Module) -> list[object]:
    """What a graph takes for given: where tensors lie, what is trained, modes, active adapters."""
    found: list[object] = [(p.data_ptr(), p.requires_grad) for p in model.parameters()]
    found += [buffer.data_ptr() for buffer in model.buffers()]
    for module in model.modules():
        found.append(module.training)
        if isinstance(module, BaseTunerLayer):
            found.append((module.disable_adapters, tuple(module.active_adapters), module.merged))
    return found
