import os
import platform
import subprocess
import sys

import pytest

BLOCK, TIMES = 64 * 2**20, 8
COUNT = f"""
import resource
from arcvit.core.allocator import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

kept = keep_freed_memory()
b"x" * {BLOCK}
before = faults()
for _ in range({TIMES}):
    b"x" * {BLOCK}
print(kept, (faults() - before) * resource.getpagesize())
"""
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc's malloc")


def counted(**environment: str) -> tuple[bool, int]:
    """Whether malloc was told, and the bytes of new pages that eight blocks of 64 MiB took."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", COUNT]
    answer = subprocess.run(
        command, env=clean | environment, capture_output=True, text=True, check=True
    )
    kept, new = answer.stdout.split()
    return kept == "True", int(new)


@glibc
def test_large_blocks_take_no_new_pages() -> None:
    kept, new = counted()
    assert kept
    assert new < BLOCK


@glibc
@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_options_in_the_environment_are_kept(name: str) -> None:
    kept, _ = counted(**{name: "4" if name == "MALLOC_ARENA_MAX" else ""})
    assert not kept
