"""A command in several processes: whether it may be, and one end for all of them."""

import os
from datetime import timedelta

from arcvit.core.errors import UserError
from arcvit.core.launch import processes

_SHARED = ("train", "evaluate")
"""Commands whose work several processes share."""

_PEER_LOST = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "remote process",
)


def check_launch(command: str) -> None:
    """Refuse a launch that isn't what it seems.

    Raises:
        UserError: several processes would do the same work, or one does it where several were
            asked for.
    """
    if processes() > 1 and command not in _SHARED:
        raise UserError(
            f"arcvit {command} runs in one process, and {processes()} were started: expected"
            f" arcvit {command} without a launcher."
        )
    # Where it starts one process it leaves this one an address of several, and no number.
    if {"ACCELERATE_USE_CPU", "MASTER_ADDR"} <= set(os.environ) and "LOCAL_RANK" not in os.environ:
        raise UserError(
            "accelerate launch starts a single process on CPUs, whatever its --num_processes says:"
            f" expected torchrun --nproc_per_node 2 --no-python arcvit {command} …, or one process."
        )


def is_first_to_end() -> bool:
    """Whether no other process has asked this before: of the reasons to end, the first is told.

    The launcher ends the others as soon as one has ended, and keeps a store for all.
    """
    if processes() == 1 or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return True
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    try:
        store = TCPStore(
            host, port, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=10)
        )
        return bool(store.add(f"arcvit/{attempt}/ended", 1) == 1)
    except RuntimeError:  # the launcher itself is gone
        return True


def is_lost_process(error: BaseException) -> bool:
    """Whether an error only says that another process is gone."""
    return processes() > 1 and any(sign in str(error) for sign in _PEER_LOST)


def leave() -> None:
    """End what processes had in common, after a command that all have finished."""
    if processes() > 1:
        from torch import distributed

        if distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()
