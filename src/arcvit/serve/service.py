"""The server without a protocol: tasks, images in, answers out.

One backbone serves every task. Images are decoded in worker threads, wait in one queue, and pass
the model in batches that mix tasks; one thread owns the model.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from arcvit.data.pixels.rgb import cores
from arcvit.serve.adapter import Adapter
from arcvit.serve.asking import Asker, until
from arcvit.serve.daemons import Daemons
from arcvit.serve.engine import Engine, Observer
from arcvit.serve.ledger import Ledger
from arcvit.serve.model import ServedModel
from arcvit.serve.refusals import Draining, NotAnImage, NotReady, TaskUnavailable, WrongInput
from arcvit.serve.registry import State
from arcvit.serve.request import Answer, Answers, Images, TaskStats, TaskStatus
from arcvit.serve.serving import ServiceState
from arcvit.serve.settings import ServeSettings
from arcvit.serve.tasks import Tasks
from arcvit.serve.work import Work

_NOTHING = np.zeros(0, np.float32)


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
        self.backbone = backbone
        self.settings = settings or ServeSettings()
        self._ledger = Ledger(observer)
        self._engine = Engine(backbone, self.settings, warm=self._warm, on_batch=self._ledger.batch)
        folder = Path(folder).expanduser()
        self._tasks = Tasks(folder, self.settings, state_file, self._engine)
        self._asker: Asker | None = None
        self._input_size = (0, 0)
        self._draining = False

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
        waiting = Daemons(1, "arcvit-starting")
        try:
            await asyncio.wrap_future(waiting.submit(self.wait_until_ready))
        finally:
            waiting.close()

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
        assert isinstance(answers, Answers)  # one alone is raised, not told
        return answers

    async def predict_many(
        self,
        tasks: Sequence[str],
        images: Images,
        *,
        deadline: float | None = None,
        strict: bool = True,
    ) -> dict[str, Answers | TaskUnavailable]:
        """What several tasks say of images; a photo is decoded once.

        Returns:
            The answers by task, or in the place of some why these can't answer.

        Raises:
            Refused: as in ``predict``, where no task can answer.
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
            async with until(deadline):
                ((work, errors),) = await self._open.ask([None], images, deadline)
            _refuse(errors)
            return np.stack([output.probabilities for output in work.outputs if output is not None])

    async def tasks(self) -> list[TaskStatus]:
        """How all tasks stand, by name."""
        resident = self._engine.resident
        return [self._tasks.status(entry, resident) for entry in self._tasks.registry.entries()]

    async def describe(self, task: str, version: int | None = None) -> TaskStatus:
        """How one task stands, its labels read where they weren't.

        Raises:
            Refused: there is none, or it is broken or unloaded.
        """
        self._check_state()
        adapter = await self._tasks.adapter(task, version)
        entry = self._tasks.registry.entry(task)
        return self._tasks.status(entry, self._engine.resident, adapter.version)

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
        entry = await self._tasks.load(task, version_policy)
        return self._tasks.status(entry, self._engine.resident)

    async def unload(self, task: str) -> None:
        """Serve a task no more, also after a restart; its files stay.

        Raises:
            Refused: there is no such task.
        """
        self._check_state()
        await self._tasks.unload(task)

    def refresh(self) -> None:
        """Look at ``adapters.yaml`` and the folder now: what is new, replaced or gone."""
        self._tasks.refresh()

    async def adopt(self, state: State) -> None:
        """Take over what was loaded and unloaded elsewhere, and look at the folder again."""
        await self._tasks.adopt(state)

    async def stats(self, tasks: Sequence[str]) -> list[TaskStats]:
        """What tasks have done.

        Raises:
            Refused: there is no such task.
        """
        for task in tasks:
            self._tasks.registry.entry(task)
        return [self._ledger.stats(task) for task in tasks]

    async def drain(self, timeout: float) -> int:
        """Take no more requests, finish those that are there, and stop.

        Args:
            timeout: seconds after which those that are left are refused.

        Returns:
            How many requests were dropped.
        """
        self._draining = True
        end = time.monotonic() + timeout
        while self._ledger.requests and time.monotonic() < end:
            await asyncio.sleep(0.01)
        left = self._ledger.requests
        self._tasks.close()
        await asyncio.to_thread(self._engine.stop, drop=left > 0)
        if self._asker is not None:
            self._asker.close()
        return left

    async def _predict(
        self,
        asked: Sequence[tuple[str, int | None]],
        images: Images,
        deadline: float | None,
        strict: bool,
    ) -> list[Answers | TaskUnavailable]:
        with self._admitted(asked[0][0], len(images) * len(asked)) as began:
            async with until(deadline):
                found = [await self._found(name, version) for name, version in asked]
                there = [each for each in found if isinstance(each, Adapter)]
                done = await self._open.ask(there, images, deadline) if there else []
            work_of = {work.adapter: (work, errors) for work, errors in done}
            said = [
                _answers(each, *work_of[each]) if isinstance(each, Adapter) else each
                for each in found
            ]
            answers = [each for each in said if isinstance(each, Answers)]
            if not answers:
                raise next(each for each in said if isinstance(each, TaskUnavailable))
            if strict:
                rows = (each for of_task in answers for each in enumerate(of_task.rows))
                _refuse({index: row.error for index, row in rows if row.error is not None})
            for (name, _), adapter, each in zip(asked, found, said, strict=True):
                if isinstance(each, TaskUnavailable):
                    self._ledger.failed(name, each.kind, self._tasks.registry)
                elif isinstance(adapter, Adapter):
                    self._ledger.answered(name, work_of[adapter][0], began, len(images))
            return said

    async def _found(self, task: str, version: int | None) -> Adapter | TaskUnavailable:
        try:
            return await self._tasks.adapter(task, version)
        except TaskUnavailable as refusal:
            return refusal

    def _admitted(self, task: str, count: int) -> AbstractContextManager[float]:
        """Within the context a request of so many images is here; gives the time when it came."""
        return self._ledger.admitted(
            task, count, self.settings.queue, self._tasks.registry, self._check_state
        )

    def _check_state(self) -> None:
        if self._draining:
            raise Draining
        if not self._engine.is_ready:
            raise NotReady("the server is starting: try again in a few seconds.")

    @property
    def _open(self) -> Asker:
        assert self._asker is not None  # it is there before requests are taken
        return self._asker

    def _warm(self, model: ServedModel) -> None:
        """In the engine's thread: make ready what must be before the first request."""
        self._input_size = model.input_size
        self._asker = Asker(
            self._engine.queue,
            self.settings.workers or cores(),
            own=model.preprocessing,
            input_size=model.input_size,
        )
        model.place(self._tasks.open(model.reader))


def _refuse(errors: dict[int, str]) -> None:
    """Refuse a request whose images can't all be read, for the first of them."""
    if errors:
        index = min(errors)
        raise NotAnImage(index, errors[index])


def _answers(adapter: Adapter, work: Work, errors: dict[int, str]) -> Answers | TaskUnavailable:
    """What a task says, where images can't be read or outputs mean nothing too."""
    if work.refused is not None:
        return work.refused
    rows = []
    for index, output in enumerate(work.outputs):
        error = errors.get(index)
        if output is not None and not np.isfinite(output.probabilities).all():
            error = "the outputs of the model aren't finite"
        if output is None or error is not None:
            row = Answer(probabilities=_NOTHING, labels=adapter.labels, error=error)
        else:
            row = Answer(
                probabilities=output.probabilities,
                labels=adapter.labels,
                given=tuple(
                    adapter.labels[place]
                    for place in adapter.about.given(output.probabilities.tolist())
                ),
                known=output.known,
            )
        rows.append(row)
    return Answers(
        task=adapter.task, version=adapter.version, kind=adapter.about.kind, rows=tuple(rows)
    )
