"""The server without a protocol: tasks, images in, answers out.

One backbone serves every task. Images are decoded in worker threads, wait in one queue, and pass
the model in batches that mix tasks; one thread owns the model.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from arcvit.serve.request import Answers, Images, TaskStats, TaskStatus
from arcvit.serve.settings import ServeSettings

ServiceState = Literal["starting", "ready", "draining"]


class Observer(Protocol):
    """Whoever counts. Called from several threads; what it raises would be lost."""

    def queued(self, count: int) -> None:
        """So many images wait now."""

    def batch(self, size: int, seconds: float) -> None:
        """A pass of the model is over."""

    def answered(self, task: str, seconds: float, count: int) -> None:
        """A request of so many images was answered, so long after it came."""

    def failed(self, task: str, kind: str) -> None:
        """A request was refused; ``kind`` is that of the ``Refused``."""

    def resident(self, count: int) -> None:
        """So many adapters are on the device now."""


class Service:
    """Tasks on one backbone. The methods that are async may be awaited in any event loop.

    Args:
        backbone: a timm name, a file, a folder or demo.
        folder: of the adapters.
        settings: how it works.
        observer: whoever counts; None: nobody.
        state_file: where it is kept what was loaded and unloaded; None: in the folder.
    """

    def __init__(
        self,
        backbone: str,
        folder: str | Path,
        settings: ServeSettings | None = None,
        *,
        observer: Observer | None = None,
        state_file: Path | None = None,
    ) -> None:
        raise NotImplementedError

    @classmethod
    def start(cls, backbone: str, folder: str | Path, **settings: Any) -> "Service":
        """A service that is ready, of settings by their names.

        Raises:
            UserError: the backbone, the folder or a setting isn't what it should be.
        """
        raise NotImplementedError

    def begin(self) -> None:
        """Start the threads; the state is ``starting`` until the model is warm."""
        raise NotImplementedError

    async def ready(self) -> None:
        """Wait until the service is ready.

        Raises:
            UserError: it can't be: the backbone or the folder isn't what it should be.
        """
        raise NotImplementedError

    @property
    def state(self) -> ServiceState:
        """Whether requests are taken."""
        raise NotImplementedError

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the backbone's input, in pixels."""
        raise NotImplementedError

    async def predict(
        self,
        task: str,
        images: Images,
        *,
        version: int | None = None,
        deadline: float | None = None,
        strict: bool = True,
    ) -> Answers:
        """What a task says of images, in their order.

        Where the awaiting task is cancelled, what hasn't begun isn't done.

        Args:
            task: its name.
            images: of the request.
            version: of the task; None: the one that answers by default.
            deadline: ``time.monotonic()`` by which the answer is wanted.
            strict: whether one image that can't be read refuses the request; else its row says why.

        Raises:
            Refused: one of the kinds in ``arcvit.serve.refusals``.
        """
        raise NotImplementedError

    async def predict_many(
        self,
        tasks: Sequence[str],
        images: Images,
        *,
        deadline: float | None = None,
        strict: bool = True,
    ) -> dict[str, Answers]:
        """What several tasks say of images; a photo is decoded once.

        Raises:
            Refused: as in ``predict``, of the first task that refuses.
        """
        raise NotImplementedError

    async def embed(self, images: Images, *, deadline: float | None = None) -> np.ndarray:
        """The features of the plain backbone, ``float32`` (N, d).

        Raises:
            Refused: as in ``predict``.
        """
        raise NotImplementedError

    def tasks(self) -> list[TaskStatus]:
        """How all tasks stand, by name."""
        raise NotImplementedError

    async def describe(self, task: str, version: int | None = None) -> TaskStatus:
        """How one task stands, its labels read where they weren't.

        Raises:
            Refused: there is none, or it is broken or unloaded.
        """
        raise NotImplementedError

    async def load(self, task: str, version_policy: dict[str, Any] | None = None) -> TaskStatus:
        """Read a task anew, and serve it from now on, also after a restart.

        Args:
            task: its name.
            version_policy: Triton's: ``{"latest": {"num_versions": 1}}``,
                ``{"specific": {"versions": [1, 3]}}`` or ``{"all": {}}``; None: as it was.

        Raises:
            Refused: there is no such task, or it is broken.
            UserError: the policy isn't one.
        """
        raise NotImplementedError

    async def unload(self, task: str) -> None:
        """Serve a task no more, also after a restart; its files stay.

        Raises:
            Refused: there is no such task.
        """
        raise NotImplementedError

    def stats(self, task: str) -> TaskStats:
        """What a task has done.

        Raises:
            Refused: there is no such task.
        """
        raise NotImplementedError

    async def drain(self, timeout: float) -> int:
        """Take no more requests, finish those that are there, and stop.

        Args:
            timeout: seconds after which those that are left are refused.

        Returns:
            How many requests were dropped.
        """
        raise NotImplementedError
