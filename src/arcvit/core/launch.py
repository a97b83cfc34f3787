"""How many processes torchrun or accelerate launch has started together, and which is this one."""

import os


def processes() -> int:
    """Number of processes that were started together, on all machines."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Number of this process among them."""
    return int(os.environ.get("RANK", "0"))
