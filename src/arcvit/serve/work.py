"""Images that wait for the model, and which of them go next."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from arcvit.serve.adapter import Adapter
from arcvit.serve.model import Output
from arcvit.serve.refusals import TaskUnavailable


@dataclass(eq=False, kw_only=True)
class Work:
    """The images of one request for one task.

    Attributes:
        adapter: of the task; None: features are asked for.
        rows: the images; None where one can't be read.
        finish: called once by the engine, with the outputs in order or with what went wrong.
        deadline: ``time.monotonic()`` after which nobody waits for it.
        cancelled: whether nobody waits for it any more.
        outputs: of the rows, as far as there are any.
        refused: why its task can't answer, where other works of the request are done.
        left: rows without an output.
        entered: when it began to wait, and ``started`` when its first row was taken.
        model_seconds: of the passes that it was in.
        passes: their number.
        waiting: the rows that no batch has taken yet.
    """

    adapter: Adapter | None
    rows: Sequence[Tensor | None]
    finish: Callable[["Work", Exception | None], None]
    deadline: float | None = None
    cancelled: bool = False
    outputs: list[Output | None] = field(default_factory=list)
    refused: TaskUnavailable | None = None
    left: int = 0
    entered: float = 0.0
    started: float | None = None
    model_seconds: float = 0.0
    passes: int = 0
    over: bool = False
    waiting: deque[int] = field(init=False)

    def __post_init__(self) -> None:
        self.outputs = [None] * len(self.rows)
        self.waiting = deque(index for index, row in enumerate(self.rows) if row is not None)
        self.left = len(self.waiting)

    def end(self, error: Exception | None = None) -> None:
        """Tell the one who waits, once."""
        if not self.over:
            self.over = True
            self.finish(self, error)

    def is_dead(self, now: float) -> bool:
        """Whether there is no use in going on with it."""
        late = self.deadline is not None and now > self.deadline
        return self.over or self.cancelled or late or self._is_removed

    @property
    def _is_removed(self) -> bool:
        return self.adapter is not None and self.adapter.removed is not None


Item = tuple[Work, int]
"""A row of a work."""


class WorkQueue:
    """What waits for the model. A batch takes a row of each request in turn, so that one of many
    images delays the others by little; the rows of a work are taken in their order.

    Args:
        max_batch: rows of a batch at most.
        max_wait: seconds that a batch waits for more rows.
        most_adapters: in a batch.
    """

    def __init__(self, max_batch: int, max_wait: float, most_adapters: int) -> None:
        self._max_batch = max_batch
        self._max_wait = max_wait
        self._most_adapters = most_adapters
        self._requests: deque[deque[Work]] = deque()
        self._errands: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return sum(len(work.waiting) for request in self._requests for work in request)

    def put(self, works: Sequence[Work]) -> bool:
        """Let the works of a request wait; False: the queue is closed, and they won't be done."""
        with self._changed:
            if self._closed:
                return False
            now = time.monotonic()
            for work in works:
                work.entered = now
            if request := deque(work for work in works if work.waiting):
                self._requests.append(request)
                self._changed.notify()
        return True

    def call(self, errand: Callable[[], None]) -> None:
        """Have the engine's thread do something between two batches."""
        with self._changed:
            self._errands.append(errand)
            self._changed.notify()

    def take(self, give_up: Callable[[Work], None]) -> list[Item] | Callable[[], None] | None:
        """The next batch, or something else to do; None: the queue is closed and empty.

        Args:
            give_up: called with each work that is dead; its rows cost nothing more.
        """
        with self._changed:
            while True:
                if self._errands:
                    return self._errands.popleft()
                if not self._requests:
                    if self._closed:
                        return None
                    self._changed.wait()
                    continue
                first = min(request[0].entered for request in self._requests)
                missing = first + self._max_wait - time.monotonic()
                if len(self) < self._max_batch and missing > 0 and not self._closed:
                    self._changed.wait(missing)
                    continue
                batch = self._next_batch(give_up)
                if batch:
                    return batch

    def close(self, *, drop: bool) -> list[Work]:
        """Take nothing more; what waits is done, or dropped and given back."""
        with self._changed:
            self._closed = True
            dropped = [work for request in self._requests for work in request] if drop else []
            if drop:
                self._requests.clear()
            self._changed.notify_all()
        return dropped

    def _next_batch(self, give_up: Callable[[Work], None]) -> list[Item]:
        """Rows that can pass the model together: one of each request, then the next of each.

        A request that had its turn goes to the end. One whose rows don't fit stays in front, so
        that the next batch begins with it.
        """
        now = time.monotonic()
        batch: list[Item] = []
        aside: list[deque[Work]] = []
        adapters: set[Adapter | None] = set()
        folded: Adapter | None = None

        def fits(adapter: Adapter | None) -> bool:
            own = adapter if adapter is not None and adapter.folded else None
            is_new = adapter is not None and adapter not in adapters
            return (not batch or own is folded) and not (
                is_new and len(adapters) == self._most_adapters
            )

        while self._requests and len(batch) < self._max_batch:
            request = self._requests.popleft()
            work = None
            for each in tuple(request):
                if each.is_dead(now):
                    request.remove(each)
                    give_up(each)
                elif fits(each.adapter):
                    work = each
                    break
            if work is None:
                if request:
                    aside.append(request)
                continue
            if work.adapter is not None:
                adapters.add(work.adapter)
                folded = work.adapter if work.adapter.folded else None
            batch.append((work, work.waiting.popleft()))
            if not work.waiting:
                request.remove(work)
            if request:
                self._requests.append(request)
        self._requests.extendleft(reversed(aside))
        return batch
