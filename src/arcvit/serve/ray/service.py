"""The service that others see, where replicas on a cluster do the work."""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from arcvit.core.errors import UserError
from arcvit.serve.asking import until
from arcvit.serve.engine import Observer
from arcvit.serve.ledger import Ledger
from arcvit.serve.plan import AdaptersPlan
from arcvit.serve.ray.deployment import Deployment
from arcvit.serve.ray.merged import merged_statuses, unread_status
from arcvit.serve.ray.replica import PULSE, Behind, Replica, Reply
from arcvit.serve.refusals import Draining, NotReady, TaskUnavailable, WrongInput
from arcvit.serve.registry import Registry
from arcvit.serve.request import Answers, Images, TaskStats, TaskStatus
from arcvit.serve.serving import ServiceState
from arcvit.serve.settings import ServeSettings
from arcvit.serve.versions import VersionPolicy

_log = logging.getLogger(__name__)
_PULSE = 1.0
_PATIENCE = 5.0
"""Seconds that all replicas have for what each of them is asked."""


class RayService:
    """Tasks on replicas; each method does what that of ``Service`` does.

    What is loaded and unloaded is kept here under a number. Each call names it, and a replica that
    doesn't know it is told the state before it answers: one that comes late, or couldn't be reached
    when something was unloaded, never answers by what was before.

    Args:
        backbone: a timm name, a file, a folder or demo; the same on all nodes.
        folder: of the adapters; the same on all nodes.
        settings: of each replica.
        observer: whoever counts; None: nobody.
        state_file: where it is kept what was loaded and unloaded; None: in the folder.

    Raises:
        UserError: the folder or ``adapters.yaml`` isn't what it should be.
    """

    def __init__(
        self,
        backbone: str,
        folder: str | Path,
        settings: ServeSettings,
        *,
        observer: Observer | None = None,
        state_file: Path | None = None,
    ) -> None:
        self._folder = Path(folder).expanduser().resolve()
        self._registry = Registry(self._folder, AdaptersPlan.read(self._folder), state_file)
        self._backbone = backbone
        self._settings = settings
        self._ledger = Ledger(observer)
        self._ledger.replicas(0)
        self._number = 1
        self._changing = asyncio.Lock()
        self._deployment: Deployment | None = None
        self._starting: asyncio.Task[Any] | None = None
        self._handle: Any = None
        self._watching: asyncio.Task[None] | None = None
        self._resident: dict[str, int] = {}
        self._draining = False

    def begin(self, deployment: Deployment) -> None:
        """Have these replicas do the work, once they have been started by ``ready``."""
        self._deployment = deployment

    @property
    def state(self) -> ServiceState:
        """Whether requests are taken: when all replicas have started, and while any is there."""
        if self._draining:
            return "draining"
        return "ready" if self._resident else "starting"

    async def ready(self) -> None:
        """Start the replicas, and wait until they are ready.

        Raises:
            UserError: one of them can't start.
        """
        assert self._deployment is not None
        start = self._deployment.start(Replica, self._backbone, self._folder, self._settings)
        self._starting = asyncio.create_task(start)
        self._handle = await self._starting
        await self._pulse()
        self._watching = asyncio.create_task(self._watch())

    async def predict(
        self,
        task: str,
        images: Images,
        *,
        version: int | None = None,
        deadline: float | None = None,
        strict: bool = True,
    ) -> Answers:
        """What a task says of images; see ``Service.predict``."""
        asked = {"task": task, "images": images, "version": version, "strict": strict}
        answers: Answers = await self._asked("predict", [task], images, deadline, asked)
        return answers

    async def predict_many(
        self,
        tasks: Sequence[str],
        images: Images,
        *,
        deadline: float | None = None,
        strict: bool = True,
    ) -> dict[str, Answers | TaskUnavailable]:
        """What several tasks say of images; see ``Service.predict_many``."""
        names = list(dict.fromkeys(tasks))
        if not names:
            raise WrongInput("a request names no task: expected at least one.")
        asked = {"tasks": names, "images": images, "strict": strict}
        answers: dict[str, Answers | TaskUnavailable] = await self._asked(
            "predict_many", names, images, deadline, asked
        )
        return answers

    async def embed(self, images: Images, *, deadline: float | None = None) -> np.ndarray:
        """The features of the plain backbone; see ``Service.embed``."""
        features: np.ndarray = await self._asked("embed", [], images, deadline, {"images": images})
        return features

    async def tasks(self) -> list[TaskStatus]:
        """How all tasks stand, by name: as the replica that knows most of each has it."""
        told = [*await self._of_all("tasks")]
        if not told:
            await asyncio.to_thread(self._registry.scan)
            told = [[unread_status(entry) for entry in self._registry.entries()]]
        merged = merged_statuses(told)
        for status in merged:
            if status.name not in self._registry:
                self._registry.look(status.name)
        return merged

    async def describe(self, task: str, version: int | None = None) -> TaskStatus:
        """How one task stands; see ``Service.describe``."""
        self._check_state()
        status: TaskStatus = await self._of_one("describe", {"task": task, "version": version})
        return status

    async def stats(self, tasks: Sequence[str]) -> list[TaskStats]:
        """What tasks have done, on the replicas that are there."""
        nothing = [TaskStats()] * len(tasks)
        told = await self._of_all("stats", {"tasks": tasks})
        return [sum(each, TaskStats()) for each in zip(nothing, *told, strict=True)]

    async def load(self, task: str, version_policy: dict[str, Any] | None = None) -> TaskStatus:
        """Read a task anew on all replicas; see ``Service.load``.

        Raises:
            Refused: the replica that tried it first can't serve it, and then all is as it was.
        """
        self._check_state()
        policy = None if version_policy is None else VersionPolicy.parse(version_policy)
        async with self._changing:
            try:
                asked = {"task": task, "version_policy": version_policy}
                status: TaskStatus = await self._of_one("load", asked)
                await asyncio.to_thread(self._settle, task, policy, unloaded=False)
            finally:  # the one that tried goes back to what was, where that stays
                await self._publish()
        return status

    async def unload(self, task: str) -> None:
        """Serve a task no more, on no replica; see ``Service.unload``."""
        self._check_state()
        async with self._changing:
            await asyncio.to_thread(self._settle, task, None, unloaded=True)
            await self._publish()

    async def drain(self, timeout: float) -> int:
        """Take no more requests, finish those that are there, and take the replicas off."""
        self._draining = True
        end = time.monotonic() + timeout
        while self._ledger.requests and time.monotonic() < end:
            await asyncio.sleep(0.01)
        left = self._ledger.requests
        for task in (self._starting, self._watching):
            if task is not None:
                task.cancel()
        if self._deployment is not None:
            await asyncio.to_thread(self._deployment.end)
        return left

    async def _asked(
        self,
        method: str,
        tasks: Sequence[str],
        images: Images,
        deadline: float | None,
        arguments: dict[str, Any],
    ) -> Any:
        count = len(images) * max(1, len(tasks))
        with self._admitted(tasks[0] if tasks else "", count) as began:
            async with until(deadline):
                answer = await self._of_one(method, arguments, deadline)
            said = answer if isinstance(answer, dict) else {}
            for task in tasks:
                if isinstance(refusal := said.get(task), TaskUnavailable):
                    self._ledger.failed(task, refusal.kind, self._registry)
                else:
                    self._ledger.answered(task, None, began, len(images))
            return answer

    def _admitted(self, task: str, count: int) -> AbstractContextManager[float]:
        most = self._settings.queue * max(1, len(self._resident))
        return self._ledger.admitted(task, count, most, self._registry, self._check_state)

    async def _of_one(
        self, method: str, arguments: dict[str, Any], deadline: float | None = None
    ) -> Any:
        """What a replica answers; another one is asked where it dies meanwhile.

        Once: what kills two would kill them all.
        """
        from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError
        from ray.serve.exceptions import ReplicaUnavailableError

        lost = (NodeDiedError, ObjectLostError, RayActorError, ReplicaUnavailableError)
        for _ in range(2):
            try:
                value = await self._call(method, arguments, deadline, state=None)
                if isinstance(value, Behind):
                    value = await self._call(
                        method, arguments, deadline, state=self._registry.state
                    )
                return value
            except lost as error:
                _log.warning("a replica died with a request (%s)", type(error).__name__)
        raise NotReady("two replicas died that were asked: try again in a few seconds.")

    async def _call(
        self, method: str, arguments: dict[str, Any], deadline: float | None, state: Any
    ) -> Any:
        left = None if deadline is None else deadline - time.monotonic()
        response = self._handle.call.remote(self._number, state, method, arguments, left)
        try:
            return self._value(await response)
        except asyncio.CancelledError:
            response.cancel()
            raise

    async def _of_all(self, method: str, arguments: dict[str, Any] | None = None) -> list[Any]:
        """What all replicas answer, or one of them where another one is silent."""
        replies = await self._broadcast(method, arguments or {})
        if replies is None:
            return [await self._of_one(method, arguments or {})]
        return [self._value(reply) for reply in replies]

    async def _broadcast(self, method: str, arguments: dict[str, Any]) -> list[Reply] | None:
        """The replies of all replicas that are there; None: one of them is silent."""
        from ray.serve.exceptions import DeploymentUnavailableError

        if self._handle is None:
            return []
        asked = self._handle.broadcast(
            "call", self._number, self._registry.state, method, arguments
        )
        try:
            told = await asked.results_async(timeout_s=_PATIENCE, return_exceptions=True)
        except DeploymentUnavailableError:
            return []
        except TimeoutError:
            return None
        return [reply for reply in told if isinstance(reply, Reply)]

    def _value(self, reply: Reply) -> Any:
        """What a reply says, after counting what the replica has seen."""
        self._resident[reply.replica] = reply.resident
        for size, seconds in reply.batches:
            self._ledger.batch(size, seconds, sum(self._resident.values()))
        if isinstance(reply.value, Exception):
            raise reply.value
        return reply.value

    def _settle(self, task: str, policy: VersionPolicy | None, *, unloaded: bool) -> None:
        """Keep what is said of a task, as ``adapters.yaml`` and the folder have it now."""
        with suppress(UserError):  # what it said before goes on
            self._registry.follow(AdaptersPlan.read(self._folder))
        self._registry.look(task)
        self._registry.settle(task, policy, unloaded=unloaded)

    async def _publish(self) -> None:
        self._number += 1
        await self._pulse()

    async def _pulse(self) -> None:
        """Tell all replicas the state and that somebody is here, and see which of them are."""
        replies = await self._broadcast(PULSE, {})
        if replies is None:
            return
        self._resident = {reply.replica: 0 for reply in replies}
        self._ledger.replicas(len(replies))
        for reply in replies:
            self._value(reply)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_PULSE)
            try:
                await self._pulse()
            except Exception:  # whatever it was, the next one may find them
                _log.exception("the replicas can't be reached")

    def _check_state(self) -> None:
        if self._draining:
            raise Draining
        if not self._resident:
            raise NotReady("no replica is ready: try again in a few seconds.")
