"""Why a request isn't answered, each with its sentence; protocols give them their codes."""

import heapq
from collections.abc import Iterable
from itertools import takewhile
from typing import Any

from arcvit.core.errors import UserError, nearest
from arcvit.core.settings import shown

_COMPARED = 50
"""Names that a wrong one is compared with."""


class Refused(UserError):
    """A request that isn't answered.

    Attributes:
        kind: the reason in a word, for counters.
    """

    kind = "refused"

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets the sentence, and not what it was made of."""
        return _received, (type(self), str(self), vars(self))


class TaskUnavailable(Refused):
    """A task can't answer; others of the same request may."""


class UnknownTask(TaskUnavailable):
    """There is no task of this name."""

    kind = "unknown_task"

    def __init__(self, name: str, known: Iterable[str]) -> None:
        names = list(known)
        few = f": expected one of {', '.join(names)}" if 0 < len(names) <= 5 else ""
        # To compare with thousands would keep all others waiting for a tenth of a second.
        alike = heapq.nlargest(_COMPARED, names, key=lambda other: _in_common(other, name))
        each = " Several are named one by one: tasks=NAME&tasks=NAME." if "," in name else ""
        super().__init__(f"there is no task {shown(name)}{few}.{nearest(name, alike)}{each}")


class UnknownVersion(TaskUnavailable):
    """The task has no such version, or it isn't served."""

    kind = "unknown_version"

    def __init__(self, name: str, version: int | None, served: Iterable[int]) -> None:
        there = ", ".join(map(str, served))
        which = "no version now" if version is None else f"no version {version}"
        expected = f": expected {there}" if there else ""
        super().__init__(f"task {name!r} serves {which}{expected}.")


class TaskRemoved(TaskUnavailable):
    """The task was removed or unloaded, perhaps while the request waited."""

    kind = "removed"


class Broken(TaskUnavailable):
    """The task's adapter can't be served; the sentence says why."""

    kind = "broken"


class QueueFull(Refused):
    """More images wait than may.

    Attributes:
        retry_after: seconds until trying again is likely to help.
    """

    kind = "queue_full"

    def __init__(self, most: int, retry_after: float) -> None:
        super().__init__(f"{most} images wait already, as many as may: try again later.")
        self.retry_after = retry_after


class DeadlineExceeded(Refused):
    """The answer would have come too late."""

    kind = "deadline"


class NotAnImage(Refused):
    """An image can't be read.

    Attributes:
        index: which of the request.
        why: the reason.
    """

    kind = "not_an_image"

    def __init__(self, index: int, why: str) -> None:
        super().__init__(f"image {index} can't be read: {why}.")
        self.index, self.why = index, why


class WrongInput(Refused):
    """Arrays that don't fit the task, or more images than a request may hold."""

    kind = "wrong_input"


class NotReady(Refused):
    """The server is starting."""

    kind = "not_ready"


class Draining(Refused):
    """The server is shutting down."""

    kind = "draining"

    def __init__(self, why: str = "the server is shutting down: ask another one.") -> None:
        super().__init__(why)


class Failed(Refused):
    """The model itself failed; nothing is wrong with the request."""

    kind = "failed"


def _in_common(one: str, other: str) -> int:
    """Characters with which both begin."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _received(kind: type[Refused], sentence: str, attributes: dict[str, Any]) -> Refused:
    refusal = kind.__new__(kind, sentence)
    vars(refusal).update(attributes)
    return refusal
