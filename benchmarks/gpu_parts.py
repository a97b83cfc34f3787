"""The parts of a benchmark: each has its own time limit, and is written as soon as it is there."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Result = dict[str, Any]


class OutOfTimeError(Exception):
    """A part took longer than its limit."""


class Parts:
    """Runs parts one after another, and keeps what they gave in a JSON file.

    Args:
        about: what the file says before the parts.
        out: the file.
        seconds: for all parts together.
        only: run the parts whose name starts so.
        patience: what limits are multiplied by.
    """

    def __init__(
        self,
        about: Mapping[str, Any],
        out: Path,
        *,
        seconds: float,
        only: str = "",
        patience: float = 1.0,
    ) -> None:
        self.results: dict[str, Result] = {}
        self._about, self._out, self._only, self._patience = about, out, only, patience
        self._end = time.monotonic() + seconds

    def run(self, name: str, limit: float, part: Callable[[], Result]) -> None:
        """Run a part within its limit and the time that is left; write what it gave.

        Args:
            name: of the part.
            limit: seconds it may take.
            part: what runs.
        """
        if not name.startswith(self._only):
            return
        left = min(limit * self._patience, self._end - time.monotonic())
        start = time.monotonic()
        if left < 1:
            result: Result = {"skipped": "no time left"}
        else:
            try:
                with _time_limit(left):
                    result = part()
            except Exception as error:
                result = {"failed": f"{type(error).__name__}: {str(error)[-500:]}"}
        result = {**result, "part_seconds": round(time.monotonic() - start, 1)}
        self.results[name] = result
        shown = {key: value for key, value in result.items() if not isinstance(value, list)}
        print(f"{name}: {json.dumps(shown)[:500]}", flush=True)
        record = {**self._about, "parts": self.results}
        self._out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def finished(command: list[str], *, env: dict[str, str]) -> str:
    """What a command prints; whatever it has started ends with it, also where time runs out."""
    ran = subprocess.Popen(
        command,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = ran.communicate()
    except BaseException:
        os.killpg(ran.pid, signal.SIGKILL)
        ran.communicate()
        raise
    if ran.returncode:
        raise RuntimeError(f"{command[1]}: {err[-400:]}")
    return out


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise OutOfTimeError(f"more than {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
