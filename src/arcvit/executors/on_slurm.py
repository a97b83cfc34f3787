"""Workers as jobs of Slurm, through submitit. They are sent their calls as files on a shared disk.

A worker stays in its job until the bench is over, so it waits in Slurm's queue once.
"""

import os
import pickle
import shutil
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arcvit.core.errors import UserError
from arcvit.core.extras import require
from arcvit.core.files import atomic_path
from arcvit.core.settings import from_text
from arcvit.executors.job import Call, Outcome, answer
from arcvit.executors.worker import (
    MOST_FAILED_STARTS,
    become_worker,
    end_when_told,
    thread_settings,
)

FOLDER = ".workers"
_PAUSE = 0.2
_SIGN_OF_LIFE = "alive"
_BEAT = 10.0
_SILENCE = 120.0
"""Seconds without a sign of life after which an owner is dead; a disk may show it late."""
_GRACE = 10.0
"""Seconds that workers have to tidy up."""
_ALIKE = ("name", "timeout_min", "mem_gb", "cpus_per_task", "gpus_per_node")
"""Settings of submitit that aren't Slurm's alone; those have ``slurm_`` before them."""


class SlurmExecutor:
    """Jobs of Slurm that are given calls once they run, and submitted again when they end.

    Args:
        size: how many.
        folder: of the bench, on a disk that all nodes share.
        settings: of submitit, as texts: ``partition``, ``timeout_min``, ``gpus_per_node``, ...;
            ``cluster`` is slurm or local.

    Raises:
        UserError: submitit isn't installed, there is no Slurm here, or a setting isn't known.
    """

    def __init__(self, size: int, folder: Path, settings: Mapping[str, str]) -> None:
        require("slurm", "--executor slurm")
        import submitit

        cluster = settings.get("cluster", "slurm")
        if cluster == "slurm" and shutil.which("sbatch") is None:
            raise UserError(
                "--executor slurm finds no sbatch on this machine: run it on a node that submits"
                " jobs, or try it with --slurm.cluster local."
            )
        given = {
            key: from_text(text, int if key == "cpus_per_task" else Any, key=f"--slurm.{key}")
            for key, text in settings.items()
            if key != "cluster"
        }
        named = {key if key in _ALIKE else f"slurm_{key}": value for key, value in given.items()}
        self.size = size
        self._folder = (folder / FOLDER).absolute()
        self._threads = given.get("cpus_per_task", 1)
        try:
            self._executor = submitit.AutoExecutor(self._folder / "logs", cluster=cluster)
            self._executor.update_parameters(name="arcvit", **named)
        except (NameError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"--slurm: {' '.join(str(error).split())}") from error
        self._jobs: dict[str, Any] = {}
        self._boxes: dict[str, Path] = {}
        self._calls: dict[str, int] = {}
        self._busy: set[str] = set()
        self._beaten = 0.0
        self._failed_starts = 0

    def free(self) -> list[str]:
        """Workers whose jobs run; at first the jobs are submitted."""
        if not self._jobs:
            self._clear()
            for number in range(self.size):
                self._submit(f"worker {number + 1}")
        return [
            name
            for name, box in self._boxes.items()
            if name not in self._busy and (box / "ready").exists()
        ]

    def start(self, worker: str, call: Call) -> None:
        """Leave a call for a worker."""
        self._failed_starts = 0
        self._busy.add(worker)
        self._calls[worker] += 1
        _leave(self._boxes[worker] / f"call-{self._calls[worker]}", call)

    def wait(self) -> list[tuple[str, Outcome]]:
        """Wait for an answer, for a worker to become ready, or for one to die."""
        ready = set(self.free())
        while True:
            self._show_life()
            outcomes = []
            for name in sorted(self._jobs):
                file = self._boxes[name] / f"outcome-{self._calls[name]}"
                if name in self._busy and file.exists():
                    outcomes.append((name, pickle.loads(file.read_bytes())))
                elif self._jobs[name].done():
                    outcome = _loss(self._jobs[name])
                    if name in self._busy:
                        outcomes.append((name, outcome))
                    elif not (self._boxes[name] / "ready").exists():
                        self._failed_starts += 1
                    if self._failed_starts == MOST_FAILED_STARTS:
                        raise UserError(f"workers don't start under Slurm: {outcome.failure}.")
                    self._submit(name)
            self._busy -= {name for name, _ in outcomes}
            if outcomes or set(self.free()) - ready:
                return outcomes
            time.sleep(_PAUSE)

    def close(self) -> None:
        """End the jobs."""
        for job in self._jobs.values():
            job.cancel(check=False)
        end = time.monotonic() + _GRACE
        while not all(job.done(force_check=True) for job in self._jobs.values()):
            if time.monotonic() > end:
                break
            time.sleep(_PAUSE)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _clear(self) -> None:
        """Without their folder, workers of an owner that died end as well."""
        if self._folder.exists():
            shutil.rmtree(self._folder, ignore_errors=True)
            time.sleep(_PAUSE * 10)
        self._folder.mkdir(parents=True)
        self._show_life()

    def _submit(self, name: str) -> None:
        box = self._folder / f"{name.replace(' ', '-')}-{time.time_ns()}"
        box.mkdir()
        self._boxes[name], self._calls[name] = box, 0
        self._jobs[name] = self._executor.submit(work, box, self._threads)

    def _show_life(self) -> None:
        if time.monotonic() - self._beaten > _BEAT:
            (self._folder / _SIGN_OF_LIFE).touch()
            self._beaten = time.monotonic()


def work(box: Path, threads: int) -> None:
    """What a job does all its life: the calls left in its box, one after the other."""
    os.environ.update(thread_settings(threads))
    end_when_told()
    become_worker()
    threading.Thread(target=_watch, args=(box.parent,), daemon=True).start()
    (box / "ready").touch()
    number = 1
    while True:
        file = box / f"call-{number}"
        if not file.exists():
            time.sleep(_PAUSE)
            continue
        _leave(box / f"outcome-{number}", answer(pickle.loads(file.read_bytes())))
        number += 1


def _watch(folder: Path) -> None:
    """End with the owner: when its sign of life stays away, or its folder is gone."""
    seen, since = 0.0, time.monotonic()
    while time.monotonic() - since < _SILENCE:
        try:
            beat = (folder / _SIGN_OF_LIFE).stat().st_mtime
        except FileNotFoundError:
            break
        if beat != seen:
            seen, since = beat, time.monotonic()
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def _leave(file: Path, value: Any) -> None:
    with atomic_path(file) as partial:
        partial.write_bytes(pickle.dumps(value))


def _loss(job: Any) -> Outcome:
    last = (job.stderr() or "").strip().splitlines()[-1:] or [""]
    return Outcome(
        lost="machine",
        failure=f"job {job.job_id} of its worker ended ({job.state}) {last[0][:300]}".strip(),
    )
