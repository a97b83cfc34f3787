"""Replicas on a Ray cluster: how many there is room for, their start and their end."""

import asyncio
import logging
import re
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from arcvit.core.errors import UserError
from arcvit.core.settings import Count, NotNegative, Positive, check_settings
from arcvit.executors.ray_cluster import connect, gpus_of_each, room
from arcvit.serve.settings import ServeSettings

_log = logging.getLogger(__name__)
_NAME = "replica"
_POLL = 0.5


@dataclass(frozen=True, kw_only=True)
class RaySettings:
    """How many replicas there are, and what each takes of its node.

    Attributes:
        replicas: how many; null: one for each node with room for one.
        replica_cpus: cores of a replica: threads of its model on a CPU, and threads that decode.
        replica_gpus: GPUs of a replica; 0.5 lets two share one; null: one where there are any.

    Raises:
        UserError: a value is out of range.
    """

    replicas: Count | None = None
    replica_cpus: Positive = 1.0
    replica_gpus: NotNegative | None = None

    def __post_init__(self) -> None:
        check_settings("", self)


class Deployment:
    """An application of Ray Serve without HTTP of its own.

    Args:
        address: of the cluster, as ``ray.init`` takes it.
        settings: of the replicas.
        name: of the application; one that is there already under this name is replaced.

    Raises:
        UserError: the cluster can't be reached, or has no room for the replicas.
    """

    def __init__(self, address: str | None, settings: RaySettings, name: str) -> None:
        ray = connect(address, "--ray", "arcvit serve --ray")
        self._ray = ray
        self._changing = threading.Lock()
        self._ended = False
        self._name = name
        self._cpus = settings.replica_cpus
        self._gpus = gpus_of_each(ray, settings.replica_gpus)
        fitting = room(ray.nodes(), self._cpus, self._gpus)
        self.replicas = settings.replicas or max(1, sum(n > 0 for n in fitting))
        if self.replicas > sum(fitting):
            ray.shutdown()
            raise UserError(
                f"the cluster has room for {sum(fitting)} replicas of {self._cpus:g} cores and"
                f" {self._gpus:g} GPUs, and {self.replicas} are asked for: give fewer --replicas,"
                " smaller --replica_cpus or --replica_gpus, or add a node."
            )

    async def start(self, replica: type, backbone: str, folder: Path, given: ServeSettings) -> Any:
        """Place the replicas, and wait until all of them are ready.

        Returns:
            The handle by which they are asked.

        Raises:
            UserError: one can't start; the sentence says on which node and why.
        """
        threads = max(1, int(self._cpus))
        each = replace(given, threads=given.threads or threads, workers=given.workers or threads)
        handle = await asyncio.to_thread(self._deploy, replica, (backbone, folder, each))
        told = ""
        while True:
            status, said = await asyncio.to_thread(self._status)
            if status == "RUNNING":
                return handle
            wrong = re.findall(r"UserError: (.*)", said)
            if wrong or status == "DEPLOY_FAILED":
                raise UserError(wrong[-1] if wrong else f"the replicas don't start: {said[-500:]}")
            if said and said != told:  # perhaps others have what room there is
                told = said
                _log.warning("the replicas aren't ready yet: %s", " ".join(said.split())[:300])
            await asyncio.sleep(_POLL)

    def end(self) -> None:
        """Take the replicas off the cluster, and leave it."""
        from ray import serve

        with self._changing:
            self._ended = True
            with suppress(Exception):  # it was never there, or the cluster has gone before
                serve.delete(self._name)
            self._ray.shutdown()

    def _deploy(self, replica: type, arguments: tuple[Any, ...]) -> Any:
        from ray import serve

        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        deployment = serve.deployment(
            replica,
            name=_NAME,
            num_replicas=self.replicas,
            ray_actor_options={"num_cpus": self._cpus, "num_gpus": self._gpus},
            # Each has a queue of its own, which refuses what is too much.
            max_ongoing_requests=arguments[-1].queue,
            health_check_period_s=2,
            graceful_shutdown_wait_loop_s=0.1,
        )
        target = serve.RunTarget(
            deployment.bind(*arguments),
            name=self._name,
            route_prefix=None,
            logging_config={"enable_access_log": False},
        )
        with self._changing:
            if self._ended:
                raise UserError("the server ended before its replicas were placed.")
            serve.start(proxy_location="Disabled")
            return serve.run_many([target], wait_for_applications_running=False)[0]

    def _status(self) -> tuple[str, str]:
        from ray import serve

        application = serve.status().applications.get(self._name)
        if application is None:
            return "NOT_STARTED", ""
        parts = [application.message, *(d.message for d in application.deployments.values())]
        return application.status.value, "\n".join(filter(None, parts))


def name_for(port: int) -> str:
    """The name of the application of a server that listens here."""
    return f"arcvit-{socket.gethostname()}-{port}"
