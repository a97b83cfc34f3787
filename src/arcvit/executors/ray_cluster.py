"""A Ray cluster: connect to it, and see what it has room for."""

import signal
import socket
from typing import Any

from arcvit.core.errors import UserError
from arcvit.core.extras import require

_KNOCK = 10.0


def connect(address: str | None, flag: str, what: str) -> Any:
    """Connect to a cluster: the one named, that of ``RAY_ADDRESS`` or of ``ray start``, else one
    that is started on this machine.

    Args:
        address: as ``ray.init`` takes it.
        flag: by which the user gave it.
        what: what needs Ray.

    Returns:
        The module ``ray``.

    Raises:
        UserError: Ray isn't installed, or the cluster can't be reached.
    """
    require("cluster", what)
    import ray

    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"{flag} {address!r} can't be reached: expected the address of a running"
            f" cluster, as host:6379 or auto ({' '.join(str(error).split())[:200]})."
        ) from error
    signal.signal(signal.SIGTERM, on_terminate)  # Ray's own would end us without tidying up
    return ray


def _knock(address: str | None) -> None:
    """Fail at once where nobody listens: Ray would try for minutes."""
    host, _, port = (address or "").rpartition(":")
    if port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK).close()


def gpus_of_each(ray: Any, wanted: float | None) -> float:
    """GPUs of a worker: as many as are wanted, else one where the cluster has any."""
    return min(1.0, ray.cluster_resources().get("GPU", 0.0)) if wanted is None else wanted


def room(nodes: list[dict[str, Any]], num_cpus: float, num_gpus: float) -> list[int]:
    """How many workers of so many cores and GPUs each node has room for, were it empty.

    Args:
        nodes: as ``ray.nodes`` tells of them; dead ones don't count.
        num_cpus: of a worker.
        num_gpus: of a worker.
    """
    needed = [(kind, n) for kind, n in (("CPU", num_cpus), ("GPU", num_gpus)) if n]
    there = [node["Resources"] for node in nodes if node["Alive"]]
    return [int(min(each.get(kind, 0.0) // n for kind, n in needed)) for each in there]
