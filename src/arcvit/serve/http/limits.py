"""What clients may ask for: bytes, images, seconds, connections."""

from dataclasses import dataclass
from typing import Annotated

from arcvit.core.settings import Count, Positive, Range, check_settings


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much is taken from clients before they are refused.

    Attributes:
        max_body_mb: megabytes of a request, packed and unpacked.
        max_held_mb: megabytes of all requests held at once; more are answered with 429.
        max_images: images in a request.
        max_connections: open connections; of more, the one that has been idle longest is closed.
        header_timeout: seconds in which the head of a request must arrive, from its first byte on.
        body_timeout: seconds in which the body of a request must arrive.
        idle_timeout: seconds after which a connection is closed on which nothing is asked.
        request_timeout: seconds in which a request is answered or refused; a request may ask for
            fewer.
        drain_timeout: seconds in which requests are finished when the server is told to end.

    Raises:
        UserError: a value is out of range.
    """

    max_body_mb: Annotated[float, Range(above=0, at_most=2048)] = 32.0
    max_held_mb: Positive = 512.0
    max_images: Count = 256
    max_connections: Count = 2048
    header_timeout: Positive = 10.0
    body_timeout: Positive = 60.0
    idle_timeout: Positive = 75.0
    request_timeout: Positive = 30.0
    drain_timeout: Positive = 30.0

    def __post_init__(self) -> None:
        check_settings("", self)

    @property
    def max_body(self) -> int:
        """Bytes of a request."""
        return int(self.max_body_mb * 2**20)

    @property
    def max_held(self) -> int:
        """Bytes of all requests held at once."""
        return int(self.max_held_mb * 2**20)
