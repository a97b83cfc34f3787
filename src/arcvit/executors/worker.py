"""What is alike in every worker: its threads, its memory, and that it ends with its owner."""

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from multiprocessing import connection
from types import FrameType

from arcvit.core.allocator import keep_freed_memory
from arcvit.core.turns import expect_company

MOST_FAILED_STARTS = 5
"""Workers in a row that die before they are ready: the next one would too."""
_TERMINATED = 128 + signal.SIGTERM


def thread_settings(threads: int) -> dict[str, str]:
    """The environment of a worker with so many threads, read when torch is loaded.

    Threads that wait actively would take the cores of the other workers. Who sets the number of
    threads in the environment keeps it.
    """
    chosen = os.environ.get("OMP_NUM_THREADS", str(threads))
    return {"OMP_NUM_THREADS": chosen, "OMP_WAIT_POLICY": "PASSIVE"}


def become_worker() -> None:
    """Prepare a process as the command line prepares its own."""
    keep_freed_memory()
    expect_company()
    warnings.filterwarnings("ignore", module=r"PIL\.")


def end_when_told() -> None:
    """Tidy up and end on SIGTERM alone.

    An interruption from the keyboard reaches all processes of a terminal; the owner decides.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)


def end_with_owner() -> None:
    """End at once when the process that started this one is gone, whichever way."""
    owner = multiprocessing.parent_process()
    if owner is not None:
        threading.Thread(target=_watch, args=(owner.sentinel,), daemon=True).start()


def _watch(sentinel: int) -> None:
    connection.wait([sentinel])
    # Whoever starts the work again must find nobody in it.
    os.kill(os.getpid(), signal.SIGKILL)


def _end(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once: what it interrupts tidies up
    sys.exit(_TERMINATED)
