"""What is going on and what has been done, counted for limits, statistics and an observer."""

import logging
import threading
import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager

from arcvit.serve.engine import Observer
from arcvit.serve.refusals import QueueFull, Refused, WrongInput
from arcvit.serve.request import TaskStats
from arcvit.serve.work import Work

_log = logging.getLogger(__name__)


class Ledger:
    """Counts; may be called from any thread.

    Args:
        observer: told of everything; None: nobody.
    """

    def __init__(self, observer: Observer | None) -> None:
        self._observer = observer
        self._lock = threading.Lock()
        self._stats: dict[str, TaskStats] = {}
        self._images = 0
        self._pace = 0.01
        self.requests = 0
        """How many are being answered now."""

    @contextmanager
    def admitted(
        self, task: str, images: int, most: int, tasks: Container[str], check: Callable[[], None]
    ) -> Iterator[float]:
        """Within the context a request is here; gives the time when it came.

        Args:
            task: the first one that it asks.
            images: of it, all its tasks together.
            most: as many may be here.
            tasks: under whose names is counted what is refused.
            check: refuses where no requests are taken.

        Raises:
            Refused: there are too many images, or ``check`` refuses.
        """
        try:
            check()
            if images > most:
                raise WrongInput(
                    f"a request has {images} images, all its tasks together: expected at most"
                    f" {most}."
                )
            if not self._enter(images, most):
                raise QueueFull(most, self._retry_after())
            try:
                yield time.monotonic()
            finally:
                self._leave(images)
        except Refused as refusal:
            self.failed(task, refusal.kind, tasks)
            raise

    def _enter(self, images: int, most: int) -> bool:
        """Count a request in; False: there are too many images already."""
        with self._lock:
            if self._images + images > most:
                return False
            self._images += images
            self.requests += 1
            count = self._images
        self._tell(lambda observer: observer.queued(count))
        return True

    def _leave(self, images: int) -> None:
        """Count a request out, whatever came of it."""
        with self._lock:
            self._images -= images
            self.requests -= 1
            count = self._images
        self._tell(lambda observer: observer.queued(count))

    def _retry_after(self) -> float:
        """Seconds in which half of what waits is likely to be answered."""
        return max(0.1, self._images * self._pace / 2)

    def batch(self, size: int, seconds: float, resident: int) -> None:
        """A pass of the model is over."""
        self._pace += (seconds / size - self._pace) / 8

        def tell(observer: Observer) -> None:
            observer.batch(size, seconds)
            observer.resident(resident)

        self._tell(tell)

    def replicas(self, count: int) -> None:
        """So many replicas answer now."""
        self._tell(lambda observer: observer.replicas(count))

    def answered(self, task: str, work: Work | None, began: float, images: int) -> None:
        """A request of a task was answered, by a work of this process or by another process."""
        seconds = time.monotonic() - began
        if work is not None:
            waiting = 0.0 if work.started is None else work.started - work.entered
            decoding = work.entered - began if work.entered else seconds
            done = TaskStats(
                requests=1,
                images=images,
                batches=work.passes,
                seconds=seconds,
                decode_seconds=decoding,
                queue_seconds=waiting,
                model_seconds=work.model_seconds,
                last=time.time(),
            )
            with self._lock:
                self._stats[task] = self._stats.get(task, TaskStats()) + done
        self._tell(lambda observer: observer.answered(task, seconds, images))

    def failed(self, task: str, kind: str, tasks: Container[str]) -> None:
        """A request of a task was refused; it counts for none where there is none of its name."""
        task = task if task in tasks else ""
        if task:
            with self._lock:
                self._stats[task] = self._stats.get(task, TaskStats()) + TaskStats(failed=1)
        self._tell(lambda observer: observer.failed(task, kind))

    def stats(self, task: str) -> TaskStats:
        """What a task has done."""
        with self._lock:
            return self._stats.get(task, TaskStats())

    def _tell(self, what: Callable[[Observer], None]) -> None:
        if self._observer is not None:
            try:
                what(self._observer)
            except Exception:
                _log.exception("the observer failed")
