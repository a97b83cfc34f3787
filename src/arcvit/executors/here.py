"""No workers: one job after another in this process."""

from arcvit.executors.job import Call, Outcome, answer


class HereExecutor:
    """Runs a call when it is waited for."""

    size = 1

    def __init__(self) -> None:
        self._call: Call | None = None

    def free(self) -> list[str]:
        """This process, unless it has been given a call."""
        return ["here"] if self._call is None else []

    def start(self, worker: str, call: Call) -> None:
        """Take a call."""
        self._call = call

    def wait(self) -> list[tuple[str, Outcome]]:
        """Do it."""
        assert self._call is not None
        call, self._call = self._call, None
        return [("here", answer(call))]

    def close(self) -> None:
        """Nothing has to be ended."""
