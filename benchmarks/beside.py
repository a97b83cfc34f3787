"""A training beside other work: how OpenMP's idle threads wait, alone and beside busy processes.

    python benchmarks/beside.py --threads 2 --busy 0 1 --seconds 8 --repeats 3

Each measurement is a fresh process, as OpenMP reads its variables once, when torch is loaded: it
trains ARC on the bundled backbone for some seconds and counts images. Interleaved: every way of
waiting alone, then beside one busy process, and again. Prints images a second, median and range.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from interleaved import spread, write

WAYS = {
    "as libgomp does": {},
    "1,000 spins, as arcvit": {"GOMP_SPINCOUNT": "1000"},
    "10,000 spins": {"GOMP_SPINCOUNT": "10000"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
}
OURS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1], help="busy processes (0 1)")
    parser.add_argument("--seconds", type=float, default=8.0, help="of a measurement (8)")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--backbone", default="demo")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=[*WAYS])
    parser.add_argument("--out", help="JSON file for every measurement")
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        print(_train(options))
        return
    found: dict[str, list[float]] = {}
    for _ in range(options.repeats):
        for busy in options.busy:
            for way in options.ways:
                with _busy(busy):
                    speed = _measured(options, WAYS[way])
                found.setdefault(f"{way}, beside {busy}", []).append(speed)
    print(f"images a second, {options.backbone}, batch {options.batch}, {options.threads} threads")
    for busy in options.busy:
        for way in options.ways:
            name = f"{way}, beside {busy}"
            print(f"  {name:<32}{spread(found[name])}")
    print("time over that of the default alone")
    alone = statistics.median(found[f"{options.ways[0]}, beside {options.busy[0]}"])
    for name, speeds in found.items():
        print(f"  {name:<32}{alone / statistics.median(speeds):8.2f}")
    if options.out:
        from pathlib import Path

        write(Path(options.out), {"options": vars(options), "images_per_second": found})


def _measured(options: argparse.Namespace, way: dict[str, str]) -> float:
    clean = {name: value for name, value in os.environ.items() if name not in OURS}
    settings = {k: v for k, v in vars(options).items() if k in ("threads", "seconds", "batch")}
    flags = [f"--{name}={value}" for name, value in settings.items()]
    done = subprocess.run(
        [sys.executable, __file__, "--train", f"--backbone={options.backbone}", *flags],
        env=clean | way | {"OMP_NUM_THREADS": str(options.threads)},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return float(done.stdout.split()[-1])


def _train(options: argparse.Namespace) -> float:
    from competitors import batch_for, make

    from arcvit.core.allocator import keep_freed_memory

    keep_freed_memory()
    options = argparse.Namespace(
        **vars(options), precision="fp32", device="cpu", compile=False, image_size=None
    )
    images, labels = batch_for(options)
    step = make("arc", options).step
    step(images, labels)
    steps, start = 0, time.perf_counter()
    while time.perf_counter() - start < options.seconds:
        step(images, labels)
        steps += 1
    return steps * options.batch / (time.perf_counter() - start)


@contextmanager
def _busy(count: int) -> Iterator[None]:
    command = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


if __name__ == "__main__":
    main()
