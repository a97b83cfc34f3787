"""``arcvit serve --ray`` on a cluster of two nodes, of which one is killed under load.

    python benchmarks/serve_ray.py [--seconds 60] [--out serve_ray.json]

A head and two nodes, a replica on each, on this machine. Connections ask eight tasks whose answers
are known; after a third of the time the processes of a node are killed, all at once. Counts what
was accepted, answered, wrong and lost, and tells how long answers took before and after. Needs the
extras serve and cluster.
"""

import argparse
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from interleaved import write
from many_runs import ray_cluster
from serve_http import Adapters, ask, counter, labels, once, plain, server

ASKED = 8
"""Times that a task is asked after each change: both replicas get some of them."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="of load (60)")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made, ray_cluster() as (address, kill):
        folder = Path(made)
        make = Adapters("demo", folder / "adapters")
        names = [f"task-{k}" for k in range(options.tasks)]
        for name in names:
            make(name)
        flags = ("--ray", address, "--replicas", "2")
        with server("demo", make.folder, *flags) as at:
            found = unloaded_and_loaded(at, plain(names)[0])
            found |= under_load(options, folder, at, plain(names), kill)
    write(options.out, {"options": {k: str(v) for k, v in vars(options).items()}, **found})


def unloaded_and_loaded(at: str, request: dict[str, Any]) -> dict[str, Any]:
    """What requests get, on whatever replica, after a task was unloaded and after it was loaded."""
    task = request["path"].split("/")[3]
    found = {}
    for change in ("unload", "load"):
        post = urllib.request.Request(f"{at}/v2/repository/models/{task}/{change}", method="POST")
        urllib.request.urlopen(post).close()
        found[change] = [status_of(at, request) for _ in range(ASKED)]
        print(f"after {change}: {found[change]}")
    return found


def status_of(at: str, request: dict[str, Any]) -> int:
    """The status of an answer."""
    try:
        once(at, request)
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def under_load(
    options: argparse.Namespace,
    folder: Path,
    at: str,
    requests: list[dict[str, Any]],
    kill: Any,
) -> dict[str, Any]:
    """What came of a load during which a node is killed."""
    for request in requests:
        request["said"] = labels(once(at, request))
    third = options.seconds / 3
    killed = threading.Timer(third, kill)
    killed.start()
    job = {"kind": "closed", "connections": options.connections, "seconds": options.seconds}
    told = ask(at, folder, job, requests)
    killed.join()
    statuses = told["statuses"]
    answered = statuses.get("200", 0)
    seconds = np.array(told["seconds"])
    found = {
        "accepted": sum(statuses.values()) - statuses.get("503", 0) - statuses.get("429", 0),
        "answered": answered,
        "wrong": told["wrong"],
        "lost": sum(n for status, n in statuses.items() if status not in ("200", "429", "503")),
        "refused": statuses.get("503", 0) + statuses.get("429", 0),
        "statuses": statuses,
        "median_ms": 1000 * float(np.median(seconds)),
        "longest_s": float(seconds.max()),
        "counted": counter(at, 'arcvit_requests_total{code="200",for="predict"}'),
    }
    print(", ".join(f"{name} {found[name]}" for name in ("accepted", "answered", "wrong", "lost")))
    print(f"refused {found['refused']}; median {found['median_ms']:.0f} ms,", end=" ")
    print(f"the longest {found['longest_s']:.1f} s")
    return found


if __name__ == "__main__":
    main()
