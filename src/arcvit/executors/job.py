"""A job: a function by its name, what it is called with, and what follows from its outcome."""

import importlib
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from arcvit.core.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Call:
    """What a worker is sent. It pickles, and names no class of what it is about.

    Attributes:
        function: ``package.module:function``, imported by the worker.
        arguments: what it is called with, plain values.
    """

    function: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a call.

    Attributes:
        value: what the function returned, plain values.
        failure: the sentence that says why it returned nothing; None: it did.
        lost: what died before it could answer: the worker, or its machine; None: it answered.
        seconds: how long it took.
    """

    value: Any = None
    failure: str | None = None
    lost: Literal["worker", "machine"] | None = None
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """A call with its place in a schedule.

    Attributes:
        name: what it is called; different for every job.
        call: what a worker does.
        then: what follows from the outcome, as further jobs. It runs where the schedule does.
        place: what a worker keeps in memory for jobs alike, as a task's images: it gets them.
        path: relative time of the job and the longest of what waits for it; the longest go first.
        lost: told that its worker has died, before another one gets it.
        wanted: asked before it is given to a worker; what isn't wanted any more is left out.
    """

    name: str
    call: Call
    then: Callable[[Outcome], Iterable["Job"]]
    place: str = ""
    path: float = 0.0
    lost: Callable[[], None] = lambda: None
    wanted: Callable[[], bool] = lambda: True


def answer(call: Call) -> Outcome:
    """Do what a call says. Whatever it raises becomes a sentence, but for an interruption."""
    start = time.perf_counter()
    try:
        module, _, function = call.function.partition(":")
        value = getattr(importlib.import_module(module), function)(**call.arguments)
    except Exception as error:  # other jobs go on
        return Outcome(failure=_sentence(error), seconds=time.perf_counter() - start)
    return Outcome(value=value, seconds=time.perf_counter() - start)


def _sentence(error: Exception) -> str:
    """The sentence for the user; of an error that is none of his, its class too."""
    if isinstance(error, UserError):
        return str(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
