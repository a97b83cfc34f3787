"""Let idle threads of OpenMP sleep, so that a run gets on beside other work.

Between two operations the threads of libgomp, which torch brings along, spin for milliseconds by
default. Where another process wants a core, a thread that spins keeps the one it waits for from
running (benchmarks/README.md). Some 20 microseconds reach from one operation to the next; after
them threads sleep. The libraries read these variables once, when they are loaded.
"""

import os
import sys

_SETTINGS = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}
"""libgomp (torch on Linux) goes by the second; others, as macOS' libomp, by the first."""
_CHOSEN = (*_SETTINGS, "KMP_BLOCKTIME")

_told: list[bool] = []


def wait_passively() -> bool:
    """Have idle threads sleep, before torch is loaded.

    It acts on the whole process and on those it starts, so it is for a program's entry, not for a
    library. Whoever sets how threads wait in the environment keeps their own.

    Returns:
        Whether it is set here.
    """
    if "torch" in sys.modules or any(name in os.environ for name in _CHOSEN):
        return False
    os.environ.update(_SETTINGS)
    _told.append(True)
    return True


def waits_passively() -> bool:
    """Whether ``wait_passively`` has set it in this process."""
    return bool(_told)
