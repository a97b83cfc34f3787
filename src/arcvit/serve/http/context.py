"""What all requests of a server share."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import cast

from starlette.requests import HTTPConnection

from arcvit.serve.http.body import Memory
from arcvit.serve.http.limits import Limits
from arcvit.serve.http.metrics import Metrics
from arcvit.serve.http.tokens import Tokens
from arcvit.serve.serving import Serving


@dataclass
class Context:
    """A server's parts.

    Attributes:
        service: who answers.
        metrics: who counts.
        limits: what clients may ask for.
        tokens: who may ask.
        log_requests: whether each request is told of on standard error.
        memory: how many bytes of requests are held.
        reader: a thread that reads large bodies: one, as they would take turns anyway.
        writer: one that writes large answers.
        in_flight: requests that are being answered.
    """

    service: Serving
    metrics: Metrics
    limits: Limits = field(default_factory=Limits)
    tokens: Tokens = field(default_factory=Tokens)
    log_requests: bool = False
    in_flight: int = 0

    def __post_init__(self) -> None:
        self.memory = Memory(self.limits.max_held)
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="arcvit-reader")
        self.writer = ThreadPoolExecutor(1, thread_name_prefix="arcvit-writer")


def context_of(request: HTTPConnection) -> Context:
    """The parts of the server that a request came to."""
    return cast(Context, request.app.state.context)
