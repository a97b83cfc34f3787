"""What a protocol asks, whether one process answers or replicas on many machines."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np

from arcvit.serve.refusals import TaskUnavailable
from arcvit.serve.request import Answers, Images, TaskStats, TaskStatus

ServiceState = Literal["starting", "ready", "draining"]


class Serving(Protocol):
    """Tasks on one backbone; ``Service`` says what each method does and raises."""

    @property
    def state(self) -> ServiceState:
        """Whether requests are taken."""

    async def ready(self) -> None:
        """Wait until requests are taken."""

    async def predict(
        self,
        task: str,
        images: Images,
        *,
        version: int | None = None,
        deadline: float | None = None,
        strict: bool = True,
    ) -> Answers:
        """What a task says of images."""

    async def predict_many(
        self,
        tasks: Sequence[str],
        images: Images,
        *,
        deadline: float | None = None,
        strict: bool = True,
    ) -> dict[str, Answers | TaskUnavailable]:
        """What several tasks say of images."""

    async def embed(self, images: Images, *, deadline: float | None = None) -> np.ndarray:
        """The features of the plain backbone."""

    async def tasks(self) -> list[TaskStatus]:
        """How all tasks stand, by name."""

    async def describe(self, task: str, version: int | None = None) -> TaskStatus:
        """How one task stands."""

    async def stats(self, tasks: Sequence[str]) -> list[TaskStats]:
        """What tasks have done."""

    async def load(self, task: str, version_policy: dict[str, Any] | None = None) -> TaskStatus:
        """Read a task anew, and serve it from now on."""

    async def unload(self, task: str) -> None:
        """Serve a task no more."""

    async def drain(self, timeout: float) -> int:
        """Take no more requests, finish those that are there, and stop."""
