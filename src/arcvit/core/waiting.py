"""Let idle threads of OpenMP sleep, so that a run gets on beside other work.

Between two operations the threads of libgomp, which torch brings along, spin for milliseconds by
default. Where another process wants a core, a thread that spins keeps the one it waits for from
running (benchmarks/README.md). The libraries read these variables once, when they are loaded.
"""

import os
import sys

POLICY = "OMP_WAIT_POLICY"
_CHOSEN = (POLICY, "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""How libgomp (torch on Linux) and libomp (macOS, Intel's) are told; all know the first."""

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
    os.environ[POLICY] = "PASSIVE"
    _told.append(True)
    return True


def waits_passively() -> bool:
    """Whether ``wait_passively`` has set it in this process."""
    return bool(_told)
