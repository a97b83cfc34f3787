"""The mean of what is trained over the last steps ("Averaging Weights Leads to Wider Optima", UAI
2018), with PyTorch's own update: no step of the optimizer changes, and nothing is added to a model.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_swa_multi_avg_fn


class WeightAverage:
    """The mean of parameters over the last steps of a run, each step counted alike.

    It is taken after a step, outside of what a CUDA graph holds.

    Args:
        trained: the parameters.
        share: of the steps, at the end, that count; 0: none.
        steps: optimizer steps of the whole run.
    """

    def __init__(self, trained: Sequence[nn.Parameter], *, share: float, steps: int) -> None:
        self._trained = list(trained)
        self._skipped = steps - round(share * steps)
        self._steps = steps
        self._done = 0
        self._means: list[Tensor] = []
        self._update = get_swa_multi_avg_fn()

    @torch.no_grad()
    def step(self) -> None:
        """Take in what a step has left."""
        self._done += 1
        counted = self._done - self._skipped
        if counted == 1:
            self._means = [p.detach().clone() for p in self._trained]
        elif counted > 1:
            self._update(self._means, self._trained, counted - 1)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the context the parameters are the mean; after the last step they stay it."""
        if not self._means:
            yield
            return
        own = [p.detach().clone() for p in self._trained]
        self._fill(self._means)
        try:
            yield
        finally:
            if self._done < self._steps:
                self._fill(own)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"done": self._done, "means": [mean.cpu() for mean in self._means]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """What a checkpoint holds.

        Raises:
            ValueError: its means aren't those of these parameters.
        """
        means, done = state["means"], state["done"]
        begun = self._trained if done > self._skipped else []
        if [mean.shape for mean in means] != [parameter.shape for parameter in begun]:
            raise ValueError(f"its averaged weights aren't those of {done} steps of this model")
        self._done = done
        self._means = [m.to(p.device) for m, p in zip(means, begun, strict=True)]

    @torch.no_grad()
    def _fill(self, values: Sequence[Tensor]) -> None:
        for parameter, value in zip(self._trained, values, strict=True):
            parameter.copy_(value)
