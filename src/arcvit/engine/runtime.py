"""How the steps of a run are executed: compiled, captured, frozen weights cast; then undone."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from arcvit.arc.prepared import Stacked, stacked
from arcvit.core.errors import UserError
from arcvit.engine.captured import CapturedStep, undone
from arcvit.engine.compile import compiled_blocks
from arcvit.engine.config import CompileMode
from arcvit.engine.frozen import FrozenWeights
from arcvit.engine.mode import Plan, mode_of
from arcvit.engine.step import AcceleratedStep

COMPILED_EVALUATION_FROM = 100_000
"""Images of a split from which compiled blocks are compiled for evaluation too.

It takes some seconds, and of a wide batch the device has enough to do without."""

Outcome = TypeVar("Outcome")


def _silent(line: str) -> None:
    del line


class Runtime:
    """Executes steps by a plan. What a model or a device won't have is left out, and said.

    Args:
        model: what is trained and evaluated.
        plan: what to compile, capture and cast; by default nothing.
        say: told what is left out.
        backend: of torch.compile.
    """

    def __init__(
        self,
        model: nn.Module,
        plan: Plan | None = None,
        *,
        say: Callable[[str], None] = _silent,
        backend: str = "inductor",
    ) -> None:
        self._model = model
        self._plan = plan or Plan()
        self._say = say
        self._backend = backend
        self._compiles, self._captures = self._plan.compiles, self._plan.captures
        self._compiled = ExitStack()
        self._compile: Callable[[Stacked], Stacked] = _as_it_is
        self._frozen = FrozenWeights(model, self._plan.frozen)

    @property
    def mode(self) -> CompileMode:
        """What is compiled and captured, after what had to be left out."""
        return mode_of(compiles=self._compiles, captures=self._captures)

    @contextmanager
    def running(self) -> Iterator[None]:
        """The context of training and evaluation; the model is as before after it."""
        with self._frozen.cast(), self._compiled:
            if self._compiles:
                self._compile = self._compiled.enter_context(
                    compiled_blocks(self._model, backend=self._backend, memory=self._plan.memory)
                )
            yield

    def begin(
        self, step: AcceleratedStep, pixels: Tensor, labels: Tensor, *, accumulate: int
    ) -> AcceleratedStep | CapturedStep:
        """The step as it is to be run, after a try that leaves no trace.

        Args:
            step: the step.
            pixels: a first batch, (B, C, H, W).
            labels: (B,) or (B, K).
            accumulate: batches in a step.

        Raises:
            UserError: what was asked for can't be done with this model.
        """
        if self._compiles:
            step.make = self._compile(stacked)
            try:
                with undone(step), step.alone():
                    step.learn(pixels, labels)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                self._leave_out("compiled", error)
                step.make = stacked
        if self._captures:
            try:
                return CapturedStep(step.whole(), pixels, labels, accumulate=accumulate)
            except Exception as error:
                self._leave_out("captured", error)
                for parameter in step.trained:
                    parameter.grad = None  # it may lie in what the graph has given up
        return step

    def evaluated(
        self, run: Callable[[bool], Outcome], folding: AbstractContextManager[None], *, images: int
    ) -> Outcome:
        """What a pass gives with adapters folded into the original weights.

        Args:
            run: the pass; told whether its batches must be of one size, as each compiles anew.
            folding: folds the adapters in, where that is wanted.
            images: in the split.
        """
        again = FrozenWeights(self._model, self._plan.frozen)
        with self._frozen.originals(), folding, again.cast():
            if self._compiles and (self._plan.asked or images >= COMPILED_EVALUATION_FROM):
                try:
                    return run(True)
                except torch.OutOfMemoryError:
                    raise
                except Exception as error:
                    self._leave_out("compiled", error)
            if not self._compiles:
                return run(False)
            with torch.compiler.set_stance("force_eager"):
                return run(False)

    def _leave_out(self, what: str, error: Exception) -> None:
        """Go on without, or end where it was asked for."""
        why = " ".join(str(error).split())[:200] or type(error).__name__
        subject = f"the blocks of {type(self._model).__name__}" if what == "compiled" else "steps"
        if self._plan.asked:
            raise UserError(
                f"{subject} can't be {what} ({why}): use --engine.compile auto, which does without."
            ) from error
        self._say(f"{subject} can't be {what}, and run without: {why}")
        if what == "compiled":
            self._compiles = False
            self._compiled.close()
        else:
            self._captures = False


def _as_it_is(function: Stacked) -> Stacked:
    return function
