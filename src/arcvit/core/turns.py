"""What several processes would do alike is done by one of them; the others wait."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: each does it for itself, and the last one's stays
    fcntl = None  # type: ignore[assignment]


_COMPANY = "ARCVIT_BESIDE_OTHERS"


def expect_company() -> None:
    """Say that this process is one of several that work beside one another."""
    os.environ[_COMPANY] = "1"


def has_company() -> bool:
    """Whether other processes of this machine are likely to want the same as this one."""
    return _COMPANY in os.environ or int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > 1


@contextmanager
def one_at_a_time(file: Path) -> Iterator[None]:
    """Wait until no other process of this machine is here; one that dies lets the next one in.

    Args:
        file: what tells them apart; it is there only meanwhile.
    """
    if fcntl is None:
        yield
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    held = _hold(file)
    try:
        yield
    finally:
        with suppress(OSError):
            file.unlink()
        os.close(held)


def _hold(file: Path) -> int:
    while True:
        held = os.open(file, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            # Whoever was here before has removed it, and others may hold the next one.
            if _is(file, held):
                return held
        except BaseException:
            os.close(held)
            raise
        os.close(held)


def _is(file: Path, held: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(file.stat(), os.fstat(held))
    return False
