"""The executor that the command line names, with its settings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from arcvit.core.errors import UserError, nearest
from arcvit.core.settings import from_text
from arcvit.executors.here import HereExecutor
from arcvit.executors.schedule import Executor

EXECUTORS = ("local", "ray", "slurm")
_RAY = {"address": str, "num_cpus": float, "num_gpus": float}


def make_executor(
    kind: str, jobs: int | None, settings: Mapping[str, Mapping[str, str]], folder: Path
) -> Executor:
    """Workers for a bench.

    Args:
        kind: one of ``EXECUTORS``.
        jobs: how many workers; None: one for each GPU, as many as the cluster has room for.
        settings: texts by kind and key, from flags as ``--ray.num_gpus 0.5``.
        folder: of the bench.

    Raises:
        UserError: what it needs isn't installed or isn't there, or a setting is wrong.
    """
    _check(kind, jobs, settings)
    if kind == "ray":
        from arcvit.executors.on_ray import RayExecutor

        return RayExecutor(jobs, **_ray_settings(settings["ray"]))
    if kind == "slurm":
        from arcvit.executors.on_slurm import SlurmExecutor

        return SlurmExecutor(jobs or 1, folder, settings["slurm"])
    from arcvit.executors.local import LocalExecutor, visible_gpus

    gpus = visible_gpus()
    size = jobs or max(1, len(gpus))
    # A process of its own for one GPU too: it keeps decoded images, and may die alone.
    return LocalExecutor(size, gpus) if gpus or size > 1 else HereExecutor()


def planned_workers(
    kind: str, jobs: int | None, settings: Mapping[str, Mapping[str, str]]
) -> tuple[int, float, float]:
    """How many workers there would be, and how many devices, without any of them.

    Without ``jobs`` a cluster isn't asked how many it has room for: one.

    Args:
        kind: as for ``make_executor``.
        jobs: as there.
        settings: as there.

    Returns:
        Runs at once; the devices that they share here, where this machine with all its threads is
        one if it has no GPU; and those they share where every worker has what it asks for.

    Raises:
        UserError: a setting is wrong.
    """
    _check(kind, jobs, settings)
    import torch

    from arcvit.executors.local import visible_gpus

    gpus = len(visible_gpus())
    if kind == "local":
        count = jobs or max(1, gpus)
        return count, min(count, max(1, gpus)), count
    count, given = jobs or 1, _ray_settings(settings["ray"])
    elsewhere = count * float(given.get("num_gpus", 1))
    cores = given.get("num_cpus") or settings["slurm"].get("cpus_per_task") or "1"
    threads = from_text(str(cores), float, key="the cores of a worker")
    return count, elsewhere if gpus else count * threads / torch.get_num_threads(), elsewhere


def _check(kind: str, jobs: int | None, settings: Mapping[str, Mapping[str, str]]) -> None:
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs is {jobs}: expected a number of runs at once, 1 or more.")
    for other, given in settings.items():
        if given and other != kind:
            raise UserError(f"--{other}.{next(iter(given))} needs --executor {other}.")


def executor_flags(flags: Sequence[str]) -> tuple[list[str], dict[str, dict[str, str]]]:
    """Other flags, and the settings in ``--ray.KEY VALUE`` and ``--slurm.KEY=VALUE``.

    Raises:
        UserError: a flag has no value.
    """
    settings: dict[str, dict[str, str]] = {kind: {} for kind in EXECUTORS if kind != "local"}
    others = []
    rest = list(flags)
    while rest:
        given = rest.pop(0)
        flag, equals, value = given.partition("=")
        kind, _, key = flag.removeprefix("--").partition(".")
        if not flag.startswith("--") or kind not in settings:
            others.append(given)
            continue
        if not equals:
            if not rest or rest[0].startswith("--"):
                raise UserError(f"{flag} has no value after it.")
            value = rest.pop(0)
        settings[kind][key] = value
    return others, settings


def _ray_settings(texts: Mapping[str, str]) -> dict[str, Any]:
    for key in texts:
        if key not in _RAY:
            raise UserError(
                f"there is no flag --ray.{key}: expected some of {', '.join(_RAY)}."
                f"{nearest(key, _RAY)}"
            )
    return {key: from_text(text, _RAY[key], key=f"--ray.{key}") for key, text in texts.items()}
