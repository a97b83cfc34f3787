"""What runs on the cluster: a service that is told by each call what was loaded and unloaded."""

import asyncio
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arcvit.core.errors import UserError
from arcvit.executors.worker import become_worker
from arcvit.serve.registry import NOWHERE, State
from arcvit.serve.service import Service
from arcvit.serve.settings import ServeSettings

PULSE = "pulse"
"""A call that asks nothing."""
SILENCE = 60.0
"""Seconds without a call after which whoever asked is gone, as it sends a pulse every second."""
_MOST_BATCHES = 10_000


class Behind:
    """In place of an answer: the replica must be told the state first."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What comes back from a replica.

    Attributes:
        value: the answer, or the ``UserError`` that was raised in its place, or ``Behind``.
        replica: which one it is.
        batches: sizes and seconds of the passes of the model since the last reply.
        resident: adapters on its device.
    """

    value: Any
    replica: str
    batches: list[tuple[int, float]]
    resident: int


class Replica:
    """A service in an actor of Ray Serve.

    Args:
        backbone: as for ``Service``.
        folder: of the adapters, the same on all nodes.
        settings: how it works.

    Raises:
        UserError: the service can't start here; the sentence names the node.
    """

    def __init__(self, backbone: str, folder: Path, settings: ServeSettings) -> None:
        become_worker()
        self._seen = _Seen()
        self._name = uuid.uuid4().hex
        self._number = 0
        self._adopting = asyncio.Lock()
        try:
            self._service = Service(
                backbone, folder, settings, observer=self._seen, state_file=NOWHERE
            )
            self._service.begin()
            self._service.wait_until_ready()
        except UserError as error:
            raise UserError(f"on node {_node()}: {error}") from error
        self._heard = time.monotonic()

    async def call(
        self,
        number: int,
        state: State | None,
        method: str,
        arguments: dict[str, Any],
        left: float | None = None,
    ) -> Reply:
        """Have the service do something.

        Args:
            number: of the state, which grows.
            state: what was loaded and unloaded; None: it is sent where the number is unknown here.
            method: of the service, or ``PULSE``.
            arguments: of the method.
            left: seconds in which the answer is wanted; None: the method takes no deadline.
        """
        self._heard = time.monotonic()
        if left is not None:
            arguments = {**arguments, "deadline": time.monotonic() + left}
        try:
            if number > self._number and state is None:
                return self._reply(Behind())
            if state is not None:
                await self._adopt(number, state)
            if method == PULSE:
                return self._reply(None)
            return self._reply(await getattr(self._service, method)(**arguments))
        except UserError as error:
            return self._reply(error)

    def check_health(self) -> None:
        """Asked by Ray Serve now and then: where nobody can ask the replicas any more, they go."""
        if time.monotonic() - self._heard > SILENCE:
            from ray import serve

            name = serve.get_replica_context().app_name
            # It waits for the end of this replica, too.
            threading.Thread(target=serve.delete, args=(name,), daemon=True).start()

    async def _adopt(self, number: int, state: State) -> None:
        async with self._adopting:
            if number > self._number:
                await self._service.adopt(state)
                self._number = number

    def _reply(self, value: Any) -> Reply:
        return Reply(
            value=value,
            replica=self._name,
            batches=self._seen.taken(),
            resident=self._seen.on_device,
        )


class _Seen:
    """An observer that keeps what the replica alone can know."""

    def __init__(self) -> None:
        self.on_device = 0
        self._batches: deque[tuple[int, float]] = deque(maxlen=_MOST_BATCHES)

    def taken(self) -> list[tuple[int, float]]:
        """The batches since the last time."""
        return [self._batches.popleft() for _ in range(len(self._batches))]

    def queued(self, count: int) -> None:
        """The one who asks counts these himself."""

    def batch(self, size: int, seconds: float) -> None:
        """A pass of the model is over."""
        self._batches.append((size, seconds))

    def answered(self, task: str, seconds: float, count: int) -> None:
        """The one who asks counts these himself."""

    def failed(self, task: str, kind: str) -> None:
        """The one who asks counts these himself."""

    def resident(self, count: int) -> None:
        """So many adapters are on the device now."""
        self.on_device = count

    def replicas(self, count: int) -> None:
        """This is one of them."""


def _node() -> str:
    import ray

    return str(ray.util.get_node_ip_address())
