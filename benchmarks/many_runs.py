"""One bench of 18 runs, four ways: one after another, two processes, Ray, submitit.

A node of the Ray cluster and a worker of submitit are killed in the middle. All runs use one
thread, as sums over another number of threads differ in their last bits. Needs ray and submitit.

    python benchmarks/many_runs.py [--epochs 20] [--out many_runs.json]
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"blue": (0, 0, 255), "green": (0, 160, 0), "red": (255, 0, 0), "white": (255, 255, 255)}
SPLITS = {"train": 60, "val": 20, "test": 40}
TASKS = ("one", "two", "three")
WAYS = ("serial", "local", "ray", "submitit")
RUNS = 18
KILL_AFTER = 5
"""Finished runs before a node or worker is killed."""
PATIENCE = 300.0
"""Seconds that a node of Ray may take to start."""


def make_suite(folder: Path) -> Path:
    """Three tasks of noise with a tint, four classes each."""
    for seed, task in enumerate(TASKS):
        draws = np.random.default_rng(seed)
        for split, count in SPLITS.items():
            for name, colour in COLOURS.items():
                place = folder / task / split / name
                place.mkdir(parents=True)
                for index in range(count):
                    tint = 0.12 * np.array(colour) + draws.normal(110, 14, 3)
                    pixels = np.clip(tint + draws.normal(0, 40, (48, 48, 3)), 0, 255)
                    Image.fromarray(pixels.astype(np.uint8)).save(place / f"{index}.png")
    suite = folder / "suite.yaml"
    suite.write_text(
        "tasks:\n" + "".join(f"  - {{name: {t}, path: {t}, group: made}}\n" for t in TASKS)
    )
    return suite


def bench(
    suite: Path, out: Path, epochs: int, *flags: str, kill: Callable[[], None] | None = None
) -> tuple[float, list[str]]:
    """Seconds of a whole bench and its lines."""
    command = [
        *(sys.executable, "-m", "arcvit.cli.main", "bench", str(suite)),
        *(f"--data.root={suite.parent}", f"--out={out}", "--methods=linear,arc", "--search=none"),
        *("--backbone=test_vit", "--weights=random", "--image_size=64", "--data.augment=flip"),
        *(f"--engine.epochs={epochs}", *flags),
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    start, lines = time.perf_counter(), []
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        for line in process.stdout or ():
            lines.append(line.rstrip())
            print(f"  {line}", end="", flush=True)
            if kill is not None and line.startswith(f"[{KILL_AFTER}/"):
                print("  -- killed", flush=True)
                kill()
                kill = None
    assert process.returncode == 0, process.returncode
    assert kill is None, "the bench was over before anything was killed"
    return time.perf_counter() - start, lines


def curves(out: Path) -> dict[str, list[dict[str, float]]]:
    """What each run learned: everything in its curve but times, and its test accuracy."""
    found = {}
    for result in sorted(out.rglob("result.json")):
        lines = (result.parent / "metrics.jsonl").read_text().splitlines()
        epochs = [json.loads(line) for line in lines]
        kept = [{k: v for k, v in e.items() if "second" not in k} for e in epochs]
        test = json.loads(result.read_text())["test_accuracy"]
        found[str(result.parent.relative_to(out))] = [*kept, {"test": test}]
    return found


def kill_one_worker(out: Path) -> None:
    """Kill -9 the first process that works for a Slurm worker of this bench."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().decode()
            except OSError:
                continue
            # Not the bench itself, whose folder is called submitit too.
            if "submitit.core._submit" in command and str(out) in command:
                os.kill(int(entry.name), signal.SIGKILL)
                return
    raise RuntimeError("no process of a Slurm worker was found to be killed")


def be_patient() -> None:
    """Let a node of Ray take minutes to start: on a busy machine Ray's own 30 s are too few."""
    from ray._private import services

    waits = {"raylet_start_wait_time_s": PATIENCE, "agent_register_timeout_ms": 1000 * PATIENCE}
    os.environ.update({f"RAY_{name}": f"{value:.0f}" for name, value in waits.items()})
    ask = services.get_node

    def asked(*arguments: str) -> dict[str, object]:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return ask(*arguments)
            except RuntimeError:
                if time.monotonic() > end:
                    raise
                time.sleep(1)

    services.get_node = asked


@contextmanager
def ray_cluster() -> Iterator[tuple[str, Callable[[], None]]]:
    """A head without cores and two nodes with one each; its address, and how one of them dies."""
    from ray.cluster_utils import Cluster

    be_patient()
    head = {"num_cpus": 0, "include_dashboard": False, "wait": False}
    cluster = Cluster(True, head_node_args=head)
    try:
        nodes = [cluster.add_node(wait=False, num_cpus=1) for _ in range(2)]
        cluster.wait_for_nodes(PATIENCE)
        yield cluster.address, lambda: cluster.remove_node(nodes[0], allow_graceful=False)
    finally:
        cluster.shutdown()


def main() -> None:
    """Run all four and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--ways", default=",".join(WAYS), help="some of them, serial first")
    parser.add_argument("--out", type=Path, help="JSON of the table")
    options = parser.parse_args()
    ways = options.ways.split(",")
    with tempfile.TemporaryDirectory() as made:
        suite = make_suite(Path(made))
        rows = []
        facts = ("all results", "none twice", "same curves")
        columns = ("how", "seconds", *facts)
        reference: dict[str, list[dict[str, float]]] = {}

        def measure(way: str, *flags: str, kill: Callable[[], None] | None = None) -> None:
            print(way)
            out = Path(made) / re.match(r"\w+", way)[0]
            seconds, lines = bench(suite, out, options.epochs, *flags, kill=kill)
            done = [re.sub(r"^\[\d+/\d+\] (\w+ \w+ seed \d).*", r"\1", i) for i in lines]
            done = [line for line in done if re.fullmatch(r"\w+ \w+ seed \d", line)]
            found = curves(out)
            reference.update(found if not reference else {})
            complete = len(found) == RUNS
            rows.append((way, seconds, complete, len(done) == len(set(done)), found == reference))
            if options.out is not None:
                record = [dict(zip(columns, row, strict=True)) for row in rows]
                options.out.write_text(json.dumps({"epochs": options.epochs, "rows": record}))

        measure("serial", "--jobs=1")
        if "local" in ways:
            measure("local --jobs 2", "--jobs=2")
        if "ray" in ways:
            with ray_cluster() as (address, kill):
                at = f"--ray.address={address}"
                measure("ray, a node killed", "--executor=ray", at, kill=kill)
        if "submitit" in ways:
            measure(
                "submitit, a worker killed",
                *("--executor=slurm", "--slurm.cluster=local", "--slurm.timeout_min=60"),
                "--jobs=2",
                kill=lambda: kill_one_worker(Path(made)),
            )
        print(f"| how | seconds | {' | '.join(facts)} |\n|---|---:|---|---|---|")
        for name, seconds, *found in rows:
            print(f"| {name} | {seconds:.0f} | " + " | ".join(map(str, found)) + " |")


if __name__ == "__main__":
    main()
