"""From the images of a request to rows of the queue, and back: decoded by workers, in order."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np
from torch import Tensor

from arcvit.data.pixels.preset import Preprocessing
from arcvit.serve.adapter import Adapter
from arcvit.serve.decode import Decoded, decode, given_inputs
from arcvit.serve.refusals import DeadlineExceeded, Draining, TaskUnavailable, WrongInput
from arcvit.serve.request import Images
from arcvit.serve.work import Work, WorkQueue

_log = logging.getLogger(__name__)


class Asker:
    """Has images decoded, puts them into the queue and waits for them.

    Args:
        queue: of the engine.
        workers: threads that decode.
        own: how images are prepared where no task is asked; None: they must be prepared.
        input_size: height and width of the model's input.
    """

    def __init__(
        self,
        queue: WorkQueue,
        workers: int,
        *,
        own: Preprocessing | None,
        input_size: tuple[int, int],
    ) -> None:
        self._queue = queue
        self._workers = workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="arcvit-decoder")
        self._own = own
        self._input_size = input_size
        self._closed = False

    async def ask(
        self, adapters: Sequence[Adapter | None], images: Images, deadline: float | None
    ) -> list[tuple[Work, dict[int, str]]]:
        """The works of a request, done, each with the images that can't be read and why.

        Of several, one may be refused in place of being done.

        Args:
            adapters: of the tasks that are asked; None: the features are asked for.
            images: of the request; each is decoded once.
            deadline: ``time.monotonic()`` by which the answer is wanted.

        Raises:
            Refused: why there is no answer.
        """
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in adapters]
        works: list[Work] = []
        errors: list[dict[int, str]] = []
        gone = False
        try:
            decoded = await self._decoded(images, adapters, lambda: gone)
            for adapter, future in zip(adapters, futures, strict=True):
                rows = decoded[self._prep(adapter)]
                errors.append({i: row for i, row in enumerate(rows) if isinstance(row, str)})
                work = Work(
                    adapter=adapter,
                    rows=[None if isinstance(row, str) else row for row in rows],
                    finish=_finisher(loop, future),
                    deadline=deadline,
                )
                works.append(work)
            if not self._queue.put(works):
                raise Draining
            for work, future in zip(works, futures, strict=True):
                try:
                    if work.left:
                        await future
                except TaskUnavailable as refusal:
                    if len(works) == 1:
                        raise
                    work.refused = refusal
            return list(zip(works, errors, strict=True))
        finally:
            gone = True
            for work in works:
                work.cancelled = True
            for future in futures:
                future.cancel()  # nobody asks any more what came of it

    def close(self) -> None:
        """Decode nothing more."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _prep(self, adapter: Adapter | None) -> Preprocessing | None:
        return self._own if adapter is None else adapter.preprocessing

    async def _decoded(
        self, images: Images, adapters: Sequence[Adapter | None], gone: Callable[[], bool]
    ) -> dict[Preprocessing | None, list[Tensor | str]]:
        """The rows for each preprocessing: a tensor, or why there is none."""
        preps = dict.fromkeys(map(self._prep, adapters))
        if images.inputs is not None:
            self._check_inputs(images.inputs)
            rows: list[Tensor | str] = list(given_inputs(images.inputs))
            return dict.fromkeys(preps, rows)
        wanted = [prep for prep in preps if prep is not None]
        if len(wanted) < len(preps):
            raise WrongInput(
                "the backbone doesn't say how its images are prepared: send them preprocessed."
            )
        count = min(self._workers, len(images))
        parts = [range(start, len(images), count) for start in range(count)]
        loop = asyncio.get_running_loop()
        try:
            done = await asyncio.gather(
                *(loop.run_in_executor(self._pool, decode, images, p, wanted, gone) for p in parts)
            )
        except (asyncio.CancelledError, RuntimeError):
            if not self._closed:
                raise
            raise Draining from None
        decoded: list[Decoded] = [{}] * len(images)
        for part, of_part in zip(parts, done, strict=True):
            for index, of_image in zip(part, of_part, strict=True):
                decoded[index] = of_image
        return {prep: [of_image[prep] for of_image in decoded] for prep in wanted}

    def _check_inputs(self, inputs: np.ndarray) -> None:
        expected = (3, *self._input_size)
        if inputs.shape[1:] != expected:
            raise WrongInput(
                f"images that are already preprocessed have the shape {inputs.shape[1:]}: expected"
                f" {expected}."
            )
        if not np.isfinite(inputs).all():
            raise WrongInput(
                "images that are already preprocessed hold values that are NaN or infinite:"
                " expected finite numbers."
            )


@asynccontextmanager
async def until(deadline: float | None) -> AsyncIterator[None]:
    """Within the context, what isn't over at the deadline, ``time.monotonic()``, is refused."""
    remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
    try:
        async with asyncio.timeout(remaining):
            yield
    except TimeoutError as error:
        raise DeadlineExceeded("the deadline passed before the answer was there.") from error


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
