"""The thread that owns the model: it takes batches from the queue and passes them."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from arcvit.core.errors import UserError
from arcvit.serve.adapter import Adapter
from arcvit.serve.model import Output, ServedModel
from arcvit.serve.refusals import Broken, DeadlineExceeded, Draining, Failed, TaskRemoved
from arcvit.serve.settings import ServeSettings
from arcvit.serve.work import Item, Work, WorkQueue

_log = logging.getLogger(__name__)


class Observer(Protocol):
    """Whoever counts. Called from several threads; what it raises is logged."""

    def queued(self, count: int) -> None:
        """So many images wait or are being answered now."""

    def batch(self, size: int, seconds: float) -> None:
        """A pass of the model is over."""

    def answered(self, task: str, seconds: float, count: int) -> None:
        """A request of so many images was answered, so long after it came."""

    def failed(self, task: str, kind: str) -> None:
        """A request was refused; ``kind`` is that of the ``Refused``."""

    def resident(self, count: int) -> None:
        """So many adapters are on the device now."""

    def replicas(self, count: int) -> None:
        """So many replicas answer now, where there are any."""


class Engine:
    """Works through a queue in a thread of its own.

    Args:
        backbone: its name.
        settings: of the server.
        warm: called in the engine's thread with the model before it is ready.
        on_batch: called after each pass with its size and seconds, and the number of adapters on
            the device.
    """

    def __init__(
        self,
        backbone: str,
        settings: ServeSettings,
        *,
        warm: Callable[[ServedModel], None],
        on_batch: Callable[[int, float, int], None],
    ) -> None:
        self._backbone = backbone
        self._settings = settings
        self._warm = warm
        self._on_batch = on_batch
        self.queue = WorkQueue(settings.max_batch, settings.max_wait, settings.slots)
        self.resident: frozenset[Adapter] = frozenset()
        self._thread = threading.Thread(target=self._run, name="arcvit-engine", daemon=True)
        self._ready = threading.Event()
        self._error: BaseException | None = None

    def start(self) -> None:
        """Build the model and go to work."""
        self._thread.start()

    @property
    def is_ready(self) -> bool:
        """Whether the model is warm."""
        return self._ready.is_set() and self._error is None

    def wait_until_ready(self) -> None:
        """Wait for the model.

        Raises:
            UserError: it can't be had.
        """
        self._ready.wait()
        if self._error is not None:
            raise self._error

    def retire(self, adapters: Sequence[Adapter]) -> None:
        """Free the slots of adapters that aren't asked for any more, between two batches."""
        self.queue.call(lambda: self._retire(adapters))

    def bring(self, adapters: Sequence[Adapter]) -> None:
        """Bring pinned adapters onto the device before they are asked for, between two batches."""
        self.queue.call(lambda: self._bring(adapters))

    def stop(self, *, drop: bool) -> int:
        """Finish what waits, or drop it; how many works were dropped."""
        dropped = self.queue.close(drop=drop)
        for work in dropped:
            work.end(Draining("the server shuts down and has dropped this request."))
        if self.is_ready:  # else it builds the model still, and isn't waited for
            self._thread.join()
        return len(dropped)

    def _run(self) -> None:
        try:
            if self._settings.threads is not None:
                torch.set_num_threads(self._settings.threads)
            model = ServedModel(self._backbone, self._settings)
            model.warm_up()
            self._model = model
            self._warm(model)
            self._publish()
        except BaseException as error:  # raised again by whoever waits
            self._error = error
            self._ready.set()
            return
        self._ready.set()
        while (taken := self.queue.take(self._give_up)) is not None:
            try:
                if callable(taken):
                    taken()
                else:
                    self._pass(taken)
            except Exception as error:  # the thread must live, or every request waits for ever
                if callable(taken):
                    _log.error("adapters couldn't be brought or taken off: %s", error)
                    continue
                for work, _ in taken:
                    work.end(_reason(error))

    def _retire(self, adapters: Sequence[Adapter]) -> None:
        for adapter in adapters:
            self._model.retire(adapter)
        self._publish()

    def _bring(self, adapters: Sequence[Adapter]) -> None:
        # Where one was replaced or removed meanwhile, nobody would free its slot.
        self._model.place([a for a in adapters if a.pinned and a.removed is None])
        self._publish()

    def _publish(self) -> None:
        self.resident = frozenset(self._model.resident)

    def _pass(self, batch: list[Item]) -> None:
        start = time.monotonic()
        for work, _ in batch:
            work.started = work.started or start
        outputs = self._outputs(batch)
        seconds = time.monotonic() - start
        for work in dict.fromkeys(work for work, _ in batch):
            work.model_seconds += seconds
            work.passes += 1
        for (work, index), output in zip(batch, outputs, strict=True):
            if isinstance(output, Exception):
                work.end(output)
                continue
            work.outputs[index] = output
            work.left -= 1
            if work.left == 0:
                work.end()
        self._publish()
        self._on_batch(len(batch), seconds, len(self.resident))

    def _outputs(self, batch: list[Item]) -> Sequence[Output | Exception]:
        """The outputs of a batch; where it fails, each task is tried alone."""
        try:
            return self._forward(batch)
        except Exception as error:
            tasks = list(dict.fromkeys(work.adapter for work, _ in batch))
            if len(tasks) == 1:
                return [_reason(error)] * len(batch)
        found: dict[Item, Output | Exception] = {}
        for task in tasks:
            part = [item for item in batch if item[0].adapter is task]
            found |= zip(part, self._outputs(part), strict=True)
        return [found[item] for item in batch]

    def _forward(self, batch: list[Item]) -> list[Output]:
        adapters = [work.adapter for work, _ in batch]
        self._model.place([a for a in dict.fromkeys(adapters) if a is not None])
        rows = [row for work, index in batch if (row := work.rows[index]) is not None]
        return self._model.run(rows, adapters)

    def _give_up(self, work: Work) -> None:
        """Tell why a work isn't done."""
        adapter = work.adapter
        if adapter is not None and adapter.removed is not None:
            work.end(TaskRemoved(adapter.removed))
        else:
            work.end(DeadlineExceeded("the deadline passed while the request waited."))


def _reason(error: Exception) -> Exception:
    if isinstance(error, UserError):
        return Broken(str(error))
    _log.error("a batch failed", exc_info=error)
    text = " ".join(str(error).split())[:200]
    return Failed(f"the model failed: {type(error).__name__}: {text}.")
