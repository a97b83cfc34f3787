"""Threads that the end of the process doesn't wait for, as what they wait for may never come."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Daemons:
    """A pool of such threads; Python's own pools keep the process until the last job is done.

    Args:
        count: of the threads.
        name: of each, with its number behind it.
    """

    def __init__(self, count: int, name: str) -> None:
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._count = count
        self._lock = threading.Lock()
        self._closed = False
        for number in range(count):
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True).start()

    def submit(self, work: Callable[[], T]) -> "Future[T]":
        """The promise of what comes of a work; cancelled where the pool is closed first."""
        promise: Future[T] = Future()
        with self._lock:
            if self._closed:
                promise.cancel()
            else:
                self._jobs.put((promise, work))
        return promise

    def close(self) -> None:
        """Begin nothing more."""
        with self._lock:
            self._closed = True
        try:
            while (job := self._jobs.get_nowait()) is not None:
                job[0].cancel()
        except Empty:
            pass
        for _ in range(self._count):
            self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            promise, work = job
            if promise.set_running_or_notify_cancel():
                try:
                    promise.set_result(work())
                except BaseException as error:  # raised again by whoever waits
                    promise.set_exception(error)
            del job, promise, work  # what came of it is kept by nobody here
