"""The server without a protocol: tasks, images in, answers out.

One backbone serves every task. Images are decoded in worker threads, wait in one queue, and pass
the model in batches that mix tasks; one thread owns the model.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from arcvit.core.errors import UserError, nearest
from arcvit.data.pixels.preset import Preprocessing
from arcvit.data.pixels.rgb import cores
from arcvit.serve.adapter import Adapter
from arcvit.serve.decode import Decoded, decode, given_inputs
from arcvit.serve.engine import Engine, Observer
from arcvit.serve.ledger import Ledger
from arcvit.serve.memory import Key, Memory
from arcvit.serve.model import ServedModel
from arcvit.serve.plan import AdaptersPlan
from arcvit.serve.refusals import (
    Broken,
    DeadlineExceeded,
    Draining,
    NotAnImage,
    NotReady,
    QueueFull,
    Refused,
    TaskRemoved,
    UnknownVersion,
    WrongInput,
)
from arcvit.serve.registry import Entry, Registry
from arcvit.serve.request import Answer, Answers, Images, TaskStats, TaskStatus
from arcvit.serve.settings import ServeSettings
from arcvit.serve.versions import VersionPolicy
from arcvit.serve.work import Work

ServiceState = Literal["starting", "ready", "draining"]

_log = logging.getLogger(__name__)
_NOTHING = np.zeros(0, np.float32)
_SCAN_SHARE = 50
"""Between two looks at the folder lies at least so many times what a look takes."""


class Service:
    """Tasks on one backbone. The methods that are async may be awaited in any event loop.

    Args:
        backbone: a timm name, a file, a folder or demo.
        folder: of the adapters.
        settings: how it works.
        observer: whoever counts; None: nobody.
        state_file: where it is kept what was loaded and unloaded; None: in the folder.

    Raises:
        UserError: the folder or ``adapters.yaml`` isn't what it should be.
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
        self.settings = settings or ServeSettings()
        folder = Path(folder).expanduser()
        self._plan = AdaptersPlan.read(folder)
        self.registry = Registry(folder, self._plan, state_file)
        self._check_pins()
        self._ledger = Ledger(observer)
        self._engine = Engine(backbone, self.settings, warm=self._warm, on_batch=self._ledger.batch)
        self._workers = ThreadPoolExecutor(
            self.settings.workers or cores(), thread_name_prefix="arcvit-decoder"
        )
        self._memory: Memory | None = None
        self._input_size = (0, 0)
        self._own: Preprocessing | None = None
        self._draining = False
        self._stopped = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="arcvit-watcher", daemon=True)

    @classmethod
    def start(cls, backbone: str, folder: str | Path, **settings: Any) -> "Service":
        """A service that is ready, of settings by their names.

        Raises:
            UserError: the backbone, the folder or a setting isn't what it should be.
        """
        service = cls(backbone, folder, ServeSettings(**settings))
        service.begin()
        service.wait_until_ready()
        return service

    def begin(self) -> None:
        """Start the threads; the state is ``starting`` until the model is warm."""
        self._engine.start()

    async def ready(self) -> None:
        """Wait until the service is ready.

        Raises:
            UserError: it can't be: the backbone isn't what it should be, or a pinned task broken.
        """
        await asyncio.get_running_loop().run_in_executor(None, self.wait_until_ready)

    def wait_until_ready(self) -> None:
        """As ``ready``, without an event loop."""
        self._engine.wait_until_ready()

    @property
    def state(self) -> ServiceState:
        """Whether requests are taken."""
        if self._draining:
            return "draining"
        return "ready" if self._engine.is_ready else "starting"

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the backbone's input, in pixels; zeros until it is ready."""
        return self._input_size

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
        (answers,) = await self._predict([(task, version)], images, deadline, strict)
        return answers

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
        names = list(dict.fromkeys(tasks))
        if not names:
            raise WrongInput("a request names no task: expected at least one.")
        answers = await self._predict([(name, None) for name in names], images, deadline, strict)
        return dict(zip(names, answers, strict=True))

    async def embed(self, images: Images, *, deadline: float | None = None) -> np.ndarray:
        """The features of the plain backbone, ``float32`` (N, d).

        Raises:
            Refused: as in ``predict``.
        """
        with self._admitted("", len(images)):
            self._check_state()
            if self._own is None and images.inputs is None:
                raise WrongInput(
                    "the backbone doesn't say how its images are prepared: send them preprocessed."
                )
            ((work, errors),) = await self._ask([None], images, deadline)
            if errors:
                index = min(errors)
                raise NotAnImage(index, errors[index])
            return np.stack([output.probabilities for output in work.outputs if output is not None])

    def tasks(self) -> list[TaskStatus]:
        """How all tasks stand, by name."""
        return [self._status(entry) for entry in self.registry.entries()]

    async def describe(self, task: str, version: int | None = None) -> TaskStatus:
        """How one task stands, its labels read where they weren't.

        Raises:
            Refused: there is none, or it is broken or unloaded.
        """
        self._check_state()
        entry, number = self._resolve(task, version)
        await self._adapter(entry, number)
        return self._status(entry, number)

    async def load(self, task: str, version_policy: dict[str, Any] | None = None) -> TaskStatus:
        """Read a task anew, and serve it from now on, also after a restart.

        Args:
            task: its name.
            version_policy: Triton's: ``{"latest": {"num_versions": 1}}``,
                ``{"specific": {"versions": [1, 3]}}`` or ``{"all": {}}``; None: as it was.

        Raises:
            Refused: there is no such task, or it is broken, and then all is as it was.
            UserError: the policy isn't one.
        """
        self._check_state()
        policy = None if version_policy is None else VersionPolicy.parse(version_policy)
        self.registry.look(task)
        entry = self.registry.entry(task)
        served = (policy or entry.policy).served(entry.places)
        if not served:
            there = ", ".join(map(str, sorted(entry.places)))
            raise UserError(f"task {task!r} has no such version: expected one of {there}.")
        try:
            for number in reversed(served) if policy and policy.kind == "specific" else served[-1:]:
                read = self._require_memory().read((task, number), entry.places[number])
                await asyncio.wrap_future(read)
        except UserError as error:
            raise Broken(f"task {task!r} can't be served: {error}") from error
        entry = self.registry.settle(task, policy=policy, unloaded=False)
        for number in set(entry.places) - set(entry.served):
            self._require_memory().remove((task, number), f"version {number} of {task!r} is off.")
        return self._status(entry)

    async def unload(self, task: str) -> None:
        """Serve a task no more, also after a restart; its files stay.

        Raises:
            Refused: there is no such task.
        """
        self._check_state()
        entry = self.registry.settle(task, policy=None, unloaded=True)
        for number in entry.places:
            self._require_memory().remove((task, number), f"task {task!r} was unloaded.")

    def stats(self, task: str) -> TaskStats:
        """What a task has done.

        Raises:
            Refused: there is no such task.
        """
        self.registry.entry(task)
        return self._ledger.stats(task)

    async def drain(self, timeout: float) -> int:
        """Take no more requests, finish those that are there, and stop.

        Args:
            timeout: seconds after which those that are left are refused.

        Returns:
            How many requests were dropped.
        """
        self._draining = True
        until = time.monotonic() + timeout
        while self._ledger.requests and time.monotonic() < until:
            await asyncio.sleep(0.01)
        left = self._ledger.requests
        self._stopped.set()
        if self._memory is not None:
            self._memory.close()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, lambda: self._engine.stop(drop=left > 0))
        self._workers.shutdown(wait=False, cancel_futures=True)
        return left

    async def _predict(
        self,
        asked: Sequence[tuple[str, int | None]],
        images: Images,
        deadline: float | None,
        strict: bool,
    ) -> list[Answers]:
        names = [name for name, _ in asked]
        with self._admitted(names[0], len(images) * len(asked)) as began:
            self._check_state()
            entries = [self._resolve(name, version) for name, version in asked]
            async with _until(deadline):
                adapters = [await self._adapter(entry, number) for entry, number in entries]
                done = await self._ask(adapters, images, deadline)
            answers: list[Answers] = []
            for (name, _), (work, errors), adapter in zip(asked, done, adapters, strict=True):
                if errors and strict:
                    index = min(errors)
                    raise NotAnImage(index, errors[index])
                answers.append(_answers(adapter, work, errors))
                self._ledger.answered(name, work, began, len(images))
            return answers

    @contextmanager
    def _admitted(self, task: str, count: int) -> Iterator[float]:
        """Within the context a request of so many images is here; gives the time when it came."""
        most = self.settings.queue
        try:
            if count > most:
                raise WrongInput(
                    f"a request has {count} images, all its tasks together: expected at most"
                    f" {most}."
                )
            if not self._ledger.enter(count, most):
                raise QueueFull(most, self._ledger.retry_after())
            try:
                yield time.monotonic()
            finally:
                self._ledger.leave(count)
        except Refused as refusal:
            self._ledger.failed(task if task in self.registry else "", refusal.kind)
            raise

    def _check_state(self) -> None:
        if self._draining:
            raise Draining("the server is shutting down: ask another one.")
        if not self._engine.is_ready:
            raise NotReady("the server is starting: try again in a few seconds.")

    def _resolve(self, task: str, version: int | None) -> tuple[Entry, int]:
        """A task, and the version that answers."""
        entry = self.registry.entry(task)
        if entry.unloaded:
            raise TaskRemoved(f"task {task!r} was unloaded: load it to use it again.")
        if version is None and entry.served:
            return entry, entry.served[-1]
        if version is None or version not in entry.served:
            raise UnknownVersion(task, version or 0, entry.served)
        return entry, version

    async def _adapter(self, entry: Entry, version: int) -> Adapter:
        found = self._require_memory().get((entry.name, version), entry.places[version])
        if isinstance(found, Future):
            try:
                # Shielded: others wait for the same.
                return await asyncio.shield(asyncio.wrap_future(found))
            except UserError as error:
                raise Broken(f"task {entry.name!r} can't be served: {error}") from error
        return found

    async def _ask(
        self, adapters: Sequence[Adapter | None], images: Images, deadline: float | None
    ) -> list[tuple[Work, dict[int, str]]]:
        """The works of a request, done, each with the images that can't be read and why."""
        loop = asyncio.get_running_loop()
        asked = [(adapter, loop.create_future()) for adapter in adapters]
        works: list[Work] = []
        gone = False
        try:
            async with _until(deadline):
                decoded = await self._decoded(images, adapters, lambda: gone)
                errors: list[dict[int, str]] = []
                for adapter, future in asked:
                    rows = decoded[self._own if adapter is None else adapter.preprocessing]
                    errors.append({i: row for i, row in enumerate(rows) if isinstance(row, str)})
                    work = Work(
                        adapter=adapter,
                        rows=[None if isinstance(row, str) else row for row in rows],
                        finish=_finisher(loop, future),
                        deadline=deadline,
                    )
                    works.append(work)
                    if work.left and not self._engine.queue.put(work):
                        raise Draining("the server is shutting down: ask another one.")
                for work, (_, future) in zip(works, asked, strict=True):
                    if work.left:
                        await future
            return list(zip(works, errors, strict=True))
        finally:
            gone = True
            for work in works:
                work.cancelled = True

    async def _decoded(
        self, images: Images, adapters: Sequence[Adapter | None], gone: Callable[[], bool]
    ) -> dict[Preprocessing | None, list[Any]]:
        """The rows for each preprocessing: a tensor, or why there is none."""
        preps = dict.fromkeys(self._own if a is None else a.preprocessing for a in adapters)
        if images.inputs is not None:
            shape, expected = images.inputs.shape, (len(images), 3, *self._input_size)
            if shape != expected or not np.isfinite(images.inputs).all():
                what = "values that aren't finite" if shape == expected else f"the shape {shape}"
                raise WrongInput(
                    f"inputs that are already preprocessed have {what}: expected {expected}, finite"
                    " numbers."
                )
            return dict.fromkeys(preps, given_inputs(images.inputs))
        wanted = [prep for prep in preps if prep is not None]
        workers = min(len(images), self._workers._max_workers)
        parts = [range(start, len(images), workers) for start in range(workers)]
        loop = asyncio.get_running_loop()
        jobs = [
            loop.run_in_executor(self._workers, decode, images, part, wanted, gone)
            for part in parts
        ]
        decoded: list[Decoded] = [{}] * len(images)
        for part, job in zip(parts, jobs, strict=True):
            for index, of_image in zip(part, await job, strict=True):
                decoded[index] = of_image
        return {prep: [of_image[prep] for of_image in decoded] for prep in wanted}

    def _status(self, entry: Entry, version: int | None = None) -> TaskStatus:
        number = version or (entry.served[-1] if entry.served else None)
        known = None
        if number is not None and self._memory is not None:
            known = self._memory.state((entry.name, number))
        adapter = known if isinstance(known, Adapter) else None
        if entry.unloaded:
            state, reason = "unloaded", "it was unloaded"
        elif number is None:
            state, reason = "broken", "none of its versions is served"
        elif isinstance(known, str):
            state, reason = "broken", known
        else:
            state, reason = ("registered" if known is None else "ready"), ""
        return TaskStatus(
            name=entry.name,
            version=number,
            versions=entry.served,
            labels=None if adapter is None else adapter.labels,
            state=state,  # type: ignore[arg-type]
            reason=reason,
            resident=adapter is not None and adapter in self._engine.resident,
            pinned=entry.name in self._plan.pin,
            folded=entry.name in self._plan.folded,
            calibrated=None if adapter is None else adapter.means is not None,
        )

    def _require_memory(self) -> Memory:
        assert self._memory is not None  # it is there before the state is ready
        return self._memory

    def _warm(self, model: ServedModel) -> None:
        """In the engine's thread: make ready what must be before the first request."""
        self._input_size, self._own = model.input_size, model.preprocessing
        memory = Memory(
            model.reader,
            most=self.settings.memory,
            most_bytes=self.settings.memory_mb * 10**6,
            folded=frozenset(self._plan.folded),
            pinned=frozenset(self._plan.pin),
            retire=self._engine.retire,
        )
        self._memory = memory
        for name in self._plan.pin:
            entry, number = self._resolve(name, None)
            found = memory.get((name, number), entry.places[number])
            try:
                adapter = found.result() if isinstance(found, Future) else found
            except UserError as error:
                raise UserError(f"task {name!r} is pinned and can't be served: {error}") from error
            model.place([adapter])
        self._watcher.start()

    def _watch(self) -> None:
        """Look at the folder now and then."""
        pause = self.settings.watch
        while self.settings.watch and not self._stopped.wait(pause):
            start = time.monotonic()
            try:
                self.refresh()
            except Exception:  # a folder on a network that is away comes back
                _log.exception("the folder of adapters can't be looked at")
            pause = max(self.settings.watch, _SCAN_SHARE * (time.monotonic() - start))

    def refresh(self) -> None:
        """Look at the folder of adapters: what is new, replaced or gone."""
        memory = self._require_memory()
        for before, after in self.registry.scan():
            served = () if after is None else after.served
            for number in () if before is None else before.served:
                if number not in served:
                    assert before is not None
                    memory.remove((before.name, number), f"task {before.name!r} was removed.")
            for number in served:
                assert after is not None
                key: Key = (after.name, number)
                if memory.stamp(key) not in (None, after.places[number].stamp):
                    memory.read(key, after.places[number])

    def _check_pins(self) -> None:
        names = [entry.name for entry in self.registry.entries()]
        for name in self._plan.pin:
            if name not in names:
                raise UserError(
                    f"adapters.yaml pins {name!r}, and there is no such task.{nearest(name, names)}"
                )
        if len(self._plan.pin) >= self.settings.slots:
            raise UserError(
                f"adapters.yaml pins {len(self._plan.pin)} tasks, and there are"
                f" {self.settings.slots} slots: expected more slots than pinned tasks."
            )


def _answers(adapter: Adapter, work: Work, errors: dict[int, str]) -> Answers:
    rows = []
    for index, output in enumerate(work.outputs):
        if output is None:
            rows.append(Answer(probabilities=_NOTHING, labels=adapter.labels, error=errors[index]))
        elif not np.isfinite(output.probabilities).all():
            error = "the outputs of the model aren't finite"
            rows.append(Answer(probabilities=_NOTHING, labels=adapter.labels, error=error))
        else:
            rows.append(
                Answer(
                    probabilities=output.probabilities, labels=adapter.labels, known=output.known
                )
            )
    return Answers(
        task=adapter.task, version=adapter.version, kind=adapter.about.kind, rows=tuple(rows)
    )


def _finisher(
    loop: asyncio.AbstractEventLoop, future: "asyncio.Future[None]"
) -> Callable[[Work, Exception | None], None]:
    """What the engine's thread calls when a work is over."""

    def settle(error: Exception | None) -> None:
        if not future.done():
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    def finish(_: Work, error: Exception | None) -> None:
        try:
            loop.call_soon_threadsafe(settle, error)
        except RuntimeError:
            _log.info("the event loop of a request was closed before its answer came")

    return finish


class _until:
    """Within the context, what isn't over at the deadline is refused."""

    def __init__(self, deadline: float | None) -> None:
        remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
        self._timeout = asyncio.timeout(remaining)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(self, *raised: Any) -> None:
        try:
            await self._timeout.__aexit__(*raised)
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed before the answer was there.") from error
