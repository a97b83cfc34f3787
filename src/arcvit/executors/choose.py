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
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs is {jobs}: expected a number of runs at once, 1 or more.")
    for other, given in settings.items():
        if given and other != kind:
            raise UserError(f"--{other}.{next(iter(given))} needs --executor {other}.")
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
