"""What is said to a client that isn't served: a status and one sentence."""

from collections.abc import Mapping


class HttpError(Exception):
    """A request that isn't served.

    Args:
        status: the status of HTTP.
        sentence: what is wrong, what was expected and what to do.
        headers: further headers of the answer.
    """

    def __init__(
        self, status: int, sentence: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.headers = dict(headers or {})
