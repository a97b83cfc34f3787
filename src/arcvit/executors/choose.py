"""The executor that the command line names."""

from arcvit.core.errors import UserError
from arcvit.executors.here import HereExecutor
from arcvit.executors.schedule import Executor

EXECUTORS = ("local",)


def make_executor(kind: str, jobs: int | None) -> Executor:
    """Workers for a bench.

    Args:
        kind: where they are.
        jobs: how many; None: as many as there is room for.

    Raises:
        UserError: what it needs isn't installed or isn't there.
    """
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs is {jobs}: expected a number of runs at once, 1 or more.")
    return _local(jobs)


def _local(jobs: int | None) -> Executor:
    from arcvit.executors.local import LocalExecutor, visible_gpus

    gpus = visible_gpus()
    size = jobs or max(1, len(gpus))
    return HereExecutor() if size == 1 else LocalExecutor(size, gpus)
