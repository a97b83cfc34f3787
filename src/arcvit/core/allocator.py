"""Keep freed memory in the process, where the C library is glibc.

Its malloc maps every block above a threshold (32 MB at most) from the kernel and gives it back
when it is freed, so that each batch takes its activations as new pages that the kernel clears
first. On a CPU that can be a sixth of a ViT-B/16's forward pass (benchmarks/README.md).
"""

import ctypes
import os
import sys

# malloc.h; mallopt(3) says what 0 and -1 mean.
_TRIM_THRESHOLD, _NEVER = -1, -1
_MMAP_MAX, _NONE = -4, 0


def keep_freed_memory() -> bool:
    """Have malloc serve large blocks from memory that the process keeps.

    It acts on the whole process, so it is for a program's entry, not for a library. Whoever sets
    malloc's options in the environment (``MALLOC_...``, ``GLIBC_TUNABLES``) keeps their own.

    Returns:
        Whether malloc took it.
    """
    chosen = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if chosen or not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_MAX, _NONE)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))
