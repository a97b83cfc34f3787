"""Actors of a Ray cluster, on whatever nodes there are; those of a dead node start elsewhere."""

from typing import Any

from arcvit.core.errors import UserError
from arcvit.executors.job import Call, Outcome, answer
from arcvit.executors.ray_cluster import connect, gpus_of_each, room
from arcvit.executors.worker import MOST_FAILED_STARTS, become_worker, thread_settings


class _Actor:
    """What runs on the cluster: one call at a time, as in a local worker."""

    def __init__(self) -> None:
        become_worker()

    def ready(self) -> None:
        """Answers once the actor has been placed and has started."""

    def answer(self, call: Call) -> Outcome:
        """Do a call."""
        return answer(call)


class RayExecutor:
    """Actors that are given calls once they have been placed, and replaced when they die.

    Args:
        size: how many actors; None: as many as there is room for now.
        address: as ``ray.init`` takes it.
        num_cpus: cores of an actor, and its threads.
        num_gpus: GPUs of an actor, a fraction to let several share one; None: one where the
            cluster has any.

    Raises:
        UserError: Ray isn't installed, the cluster can't be reached, or has no room for an actor.
    """

    def __init__(
        self,
        size: int | None = None,
        *,
        address: str | None = None,
        num_cpus: float = 1,
        num_gpus: float | None = None,
    ) -> None:
        ray = self._ray = connect(address, "--ray.address", "--executor ray")
        num_gpus = gpus_of_each(ray, num_gpus)
        most = sum(room(ray.nodes(), num_cpus, num_gpus))
        if not most:
            there = ray.cluster_resources()
            ray.shutdown()
            raise UserError(
                f"no node of the cluster has room for a worker with {num_cpus:g} cores and"
                f" {num_gpus:g} GPUs: there are {there.get('CPU', 0):g} and"
                f" {there.get('GPU', 0):g} in all. Give --ray.num_cpus and --ray.num_gpus."
            )
        self.size = size or most
        environment = thread_settings(max(1, int(num_cpus)))
        self._actor = ray.remote(_Actor).options(
            num_cpus=num_cpus, num_gpus=num_gpus, runtime_env={"env_vars": environment}
        )
        self._actors: dict[str, Any] = {}
        self._pending: dict[Any, str] = {}
        self._busy: dict[Any, str] = {}
        self._failed_starts = 0
        for number in range(self.size):
            self._place(f"actor {number + 1}")

    def free(self) -> list[str]:
        """Actors that are ready."""
        taken = {*self._pending.values(), *self._busy.values()}
        return [name for name in self._actors if name not in taken]

    def start(self, worker: str, call: Call) -> None:
        """Send a call."""
        self._busy[self._actors[worker].answer.remote(call)] = worker

    def wait(self) -> list[tuple[str, Outcome]]:
        """Wait for an answer, for an actor to become ready, or for one to die."""
        done, _ = self._ray.wait([*self._busy, *self._pending], num_returns=1)
        outcomes = []
        for reference in done:
            starting = reference in self._pending
            name = (self._pending if starting else self._busy).pop(reference)
            try:
                outcome = self._ray.get(reference)
            except self._ray.exceptions.RayActorError as error:
                outcome = _loss(error)
                # One that is cut off may still be there; two would do the same.
                self._ray.kill(self._actors[name])
                self._place(name)
            if not starting:
                outcomes.append((name, outcome))
            elif outcome is None:
                self._failed_starts = 0
            else:
                self._give_up_after(outcome)
        return outcomes

    def close(self) -> None:
        """End the actors and leave the cluster; one that was started for this ends."""
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._ray.shutdown()

    def _place(self, name: str) -> None:
        self._actors[name] = self._actor.remote()
        self._pending[self._actors[name].ready.remote()] = name

    def _give_up_after(self, start: Outcome) -> None:
        self._failed_starts += 1
        if self._failed_starts == MOST_FAILED_STARTS:
            raise UserError(f"workers don't start on the cluster: {start.failure}.")


def _loss(error: Exception) -> Outcome:
    text = " ".join(str(error).split())
    if "node has died" in text or "node was terminated" in text:
        return Outcome(lost="machine", failure="its node died")
    return Outcome(lost="worker", failure=f"its actor died ({text[:300]})")
