"""The server over HTTP, asked by another process: load, CPU time, a soak, connections.

    python benchmarks/serve_http.py load               # throughput and latency for 1, 8, 64 tasks
    python benchmarks/serve_http.py cpu                # CPU an image, beside in-process predict
    python benchmarks/serve_http.py cpu --backbone vit_small_patch16_224 --images 1
    python benchmarks/serve_http.py soak --minutes 10  # adapters come and go under load
    python benchmarks/serve_http.py connections        # 10,000 requests beside 1,000 idle clients

Server and client have a core each where there are two. Needs the extra serve. Adapters are random,
so that each task has answers of its own. Writes JSON with --out.
"""

import argparse
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import timm
import timm.models
import torch
from http_load import post
from interleaved import judge, ratios, spread, write
from peft import get_peft_model
from torch import nn

import arcvit
from arcvit.backbones.build import build_backbone

HOST = "127.0.0.1"
FOLDED = "folded"
_PADDING = 2**18
"""Bytes behind each photo of the soak, so that photos that are kept show in the memory."""
PHOTOS = sorted((Path(arcvit.__file__).parent / "assets/grocery/test").rglob("*.jpg"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("load", "cpu", "soak", "connections"))
    parser.add_argument(
        "--backbone", help="demo, or a name of timm (demo; test_vit of connections, which is tiny)"
    )
    parser.add_argument("--tasks", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=8, help="of each measurement (8)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=32, help="of the closed loop (32)")
    parser.add_argument("--images", type=int, default=32, help="in a request of cpu (32)")
    parser.add_argument("--requests", type=int, default=10_000, help="of connections (10,000)")
    parser.add_argument("--minutes", type=float, default=10, help="of the soak (10)")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    # Of connections the door is asked, not the model.
    options.backbone = options.backbone or {"connections": "test_vit"}.get(options.what, "demo")
    torch.set_num_threads(1)
    pin(0, client=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        backbone = backbone_for(options.backbone, folder)
        count = {"load": options.tasks, "cpu": 1, "soak": 8, "connections": 2}[options.what]
        make = Adapters(backbone, folder / "adapters")
        for task in range(count):
            make(f"task-{task}")
        measure = {"load": load, "cpu": cpu, "soak": soak, "connections": connections}[options.what]
        found = measure(options, folder, backbone, make)
    write(options.out, {"options": {k: str(v) for k, v in vars(options).items()}, **found})


def load(options: argparse.Namespace, folder: Path, backbone: str, make: "Adapters") -> Any:
    """Closed loops on 1, 8 and all tasks and on a folded one, in turns; then arrivals at 70 %."""
    make(FOLDED)
    (make.folder / "adapters.yaml").write_text(f"folded: [{FOLDED}]\n", encoding="utf-8")
    names = [f"task-{k}" for k in range(options.tasks)]
    groups = {str(count): names[:count] for count in (1, 8, options.tasks)} | {FOLDED: [FOLDED]}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in groups}
    with server(backbone, make.folder, "--slots", str(options.tasks)) as address:
        for round_ in range(options.rounds + 1):  # the first warms up
            for name, tasks in groups.items():
                job = {"kind": "closed", "connections": options.connections}
                told = ask(address, folder, job | {"seconds": options.seconds}, plain(tasks))
                if round_:
                    found[name].append(told)
        rate = 0.7 * statistics.median(map(throughput, found[str(options.tasks)]))
        arrivals = [
            ask(
                address,
                folder,
                {"kind": "open", "rate": rate, "seconds": options.seconds, "seed": seed},
                plain(names),
            )
            for seed in range(options.rounds)
        ]
    for name, rounds in found.items():
        rates = [throughput(told) for told in rounds]
        print(f"{name:>7} tasks: {spread(rates)} images/s, {latency(rounds)}")
    one, folded = ([throughput(r) for r in found[name]] for name in ("1", FOLDED))
    for name in ("8", str(options.tasks)):
        many = [throughput(r) for r in found[name]]
        print(f"{name} tasks / 1 task: {spread(ratios(many, one))}")
        print(f"{name} tasks / folded: {spread(ratios(many, folded))}")
    print(f"Poisson, {rate:.0f} requests/s, {options.tasks} tasks: {latency(arrivals)}")
    tails = [quantile(r, 99) / quantile(r, 50) for r in arrivals]
    print(f"p99 / median: {spread(tails)}")
    every = [throughput(r) for r in found[str(options.tasks)]]
    judge(
        f"throughput, {options.tasks} tasks / 1 task,",
        statistics.median(ratios(every, one)),
        at_least=0.97,
    )
    judge("p99 / median at 70 % load", statistics.median(tails), at_most=3)
    return {"closed": brief(found), "open": [shortened(r) for r in arrivals], "tails": tails}


def cpu(options: argparse.Namespace, folder: Path, backbone: str, make: "Adapters") -> Any:
    """CPU seconds an image, of the server and of the same classifier in this process, in turns."""
    files = (PHOTOS * (1 + options.images // len(PHOTOS)))[: options.images]
    classifier = arcvit.load(make.folder / "task-0", device="cpu", backbone=backbone)
    classifier.predict(files)
    body = b"".join(len(d).to_bytes(4, "little") + d for d in (f.read_bytes() for f in files))
    image = {"name": "image", "shape": [len(files)], "datatype": "BYTES"}
    image["parameters"] = {"binary_data_size": len(body)}
    head = json.dumps({"inputs": [image]}).encode()
    request = {
        "path": "/v2/models/task-0/infer",
        "body": head + body,
        "headers": {"Inference_Header_Content_Length": str(len(head))},
    }
    seconds: dict[str, list[float]] = {"server": [], "in process": []}
    with server(backbone, make.folder, "--workers", "1", "--max_wait", "0") as address:
        for round_ in range(options.rounds + 1):
            before = counter(address, "process_cpu_seconds_total")
            job = {"kind": "closed", "connections": 1, "seconds": options.seconds}
            told = ask(address, folder, job, [request])
            images = told["statuses"].get("200", 0) * len(files)
            served = (counter(address, "process_cpu_seconds_total") - before) / images
            start, count = time.process_time(), max(1, images // len(files))
            for _ in range(count):
                classifier.predict(files)
            alone = (time.process_time() - start) / (count * len(files))
            if round_:
                seconds["server"].append(served)
                seconds["in process"].append(alone)
    for name, values in seconds.items():
        print(f"{name:>10}: {spread([1000 * value for value in values])} ms of CPU an image")
    over = ratios(seconds["server"], seconds["in process"])
    print(f"server / in process: {spread(over)}")
    judge("CPU seconds an image, server / in process,", statistics.median(over), at_most=1.15)
    return {"seconds": seconds, "ratios": over}


def soak(options: argparse.Namespace, folder: Path, backbone: str, make: "Adapters") -> Any:
    """Ask eight tasks whose answers are known, while others are added, replaced and removed."""
    changes = 0
    with server(
        backbone, make.folder, "--slots", "6", "--memory", "12", "--watch", "0.2"
    ) as address:
        stable = plain([f"task-{k}" for k in range(8)])
        for request in stable:
            request["body"] += bytes(_PADDING)
            request["said"] = labels(once(address, request))
        told: list[dict[str, Any]] = []
        until = time.monotonic() + 60 * options.minutes

        def keep_asking() -> None:
            while time.monotonic() < until:
                job = {
                    "kind": "closed",
                    "connections": 16,
                    "seconds": min(10, options.minutes * 20),
                }
                told.append(ask(address, folder, job, stable))

        asking = threading.Thread(target=keep_asking)
        asking.start()
        sizes = []
        while time.monotonic() < until:
            guest = f"guest-{changes % 10}"
            if changes % 3 == 2:
                shutil.rmtree(make.folder / guest, ignore_errors=True)
            else:
                make(guest)
            with suppress(OSError):  # perhaps it isn't there yet, or not any more: it says so
                once(address, plain([guest])[0])
            changes += 1
            sizes.append(counter(address, "process_resident_memory_bytes") / 2**20)
        asking.join()
    statuses: dict[str, int] = {}
    for each in told:
        for status, count in each["statuses"].items():
            statuses[status] = statuses.get(status, 0) + count
    wrong, half = sum(each["wrong"] for each in told), len(sizes) // 2
    grown = statistics.median(sizes[half:][-5:]) - statistics.median(sizes[half:][:5])
    print(f"{changes} adapters came, were replaced or went; statuses {statuses}, {wrong} wrong")
    print(f"memory: {sizes[0]:.0f} MB at first, {sizes[-1]:.0f} at the end")
    print(f"grown since half time: {grown:+.1f} MB")
    judge("wrong answers", wrong, at_most=0)
    judge("requests without an answer", sum(statuses.values()) - statuses["200"], at_most=0)
    judge("MB grown since half time", grown, at_most=5)
    return {"changes": changes, "statuses": statuses, "wrong": wrong, "grown": grown, "mb": sizes}


def connections(options: argparse.Namespace, folder: Path, backbone: str, make: "Adapters") -> Any:
    """Requests over 256 connections, beside silent, half-sent and dripping ones."""
    with (
        server(backbone, make.folder, "--max_connections", "2048") as address,
        ExitStack() as open_,
    ):
        port = int(address.rpartition(":")[2])
        clients = [open_.enter_context(socket.create_connection((HOST, port))) for _ in range(1100)]
        whole = post("/v1/tasks/task-0/predict", b"a" * 1000, HOST)
        for client in clients[1000:1050]:
            client.sendall(whole[:30])
        for client in clients[1050:]:
            client.sendall(whole[:-900])
        job = {"kind": "closed", "connections": 256, "seconds": 600, "requests": options.requests}
        told = ask(address, folder, job, plain(["task-0", "task-1"]))
        time.sleep(max(0, 11 - told["taken"]))
        closed = sum(is_closed(client) for client in clients[1000:1050])
    print(f"statuses {told['statuses']}, {latency([told])}, {told['taken']:.0f} s")
    print(f"{closed} of 50 half-sent heads were closed")
    right = told["statuses"].get("200", 0)
    judge("requests without an answer", options.requests - right, at_most=0)
    judge("half-sent heads closed", closed, at_least=50)
    return shortened(told) | {"closed": closed}


class Adapters:
    """Makes adapters of random numbers, each in a folder that appears when it is whole."""

    def __init__(self, backbone: str, folder: Path) -> None:
        self.folder = folder
        self._backbone = backbone
        config = arcvit.ArcConfig(modules_to_save=["head"])
        self._model = get_peft_model(build_backbone(backbone, num_classes=10).model, config)
        self._trained = [p for p in self._model.parameters() if p.requires_grad]
        self._generator = torch.Generator().manual_seed(0)
        folder.mkdir()

    def __call__(self, name: str) -> None:
        """Write an adapter, over the one of this name if there is one."""
        for parameter in self._trained:
            nn.init.normal_(parameter, std=0.05, generator=self._generator)
        hidden, place = self.folder / f".{name}", self.folder / name
        names = [f"{name} {k}" for k in range(10)]
        arcvit.save_adapter(self._model, hidden, labels=names, backbone=self._backbone)
        if place.exists():
            place.rename(self.folder / ".old")
            shutil.rmtree(self.folder / ".old")
        hidden.rename(place)


@contextmanager
def server(backbone: str, adapters: Path, *flags: str) -> Iterator[str]:
    """``arcvit serve`` on the other core; its address."""
    command = [sys.executable, "-m", "arcvit.cli.main", "serve", "--backbone", backbone]
    command += ["--adapters", str(adapters), "--port", "0", "--device", "cpu", "--threads", "1"]
    process = subprocess.Popen([*command, *flags], stdout=subprocess.PIPE, text=True)
    pin(process.pid, client=False)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found, "the server didn't start"
        yield found[0]
    finally:
        process.terminate()
        print(f"the server ended with {process.wait()}")


def pin(process: int, *, client: bool) -> None:
    """Give a process the first core it may use, or the last."""
    cores = sorted(os.sched_getaffinity(process))
    if len(cores) > 1:
        os.sched_setaffinity(process, {cores[-1]} if client else {min(ALL)})


ALL = os.sched_getaffinity(0)


def backbone_for(name: str, folder: Path) -> str:
    """The bundled backbone, or a folder of timm's with random weights."""
    if name == "demo":
        return name
    torch.manual_seed(0)
    model = timm.create_model(name)
    timm.models.save_for_hf(model, folder / name, safe_serialization=True)
    return str(folder / name)


def plain(tasks: Sequence[str]) -> list[dict[str, Any]]:
    """A request a task, each with a photo of its own as the body."""
    paths = [f"/v1/tasks/{task}/predict?top=1" for task in tasks]
    return [
        {"path": path, "body": PHOTOS[k % len(PHOTOS)].read_bytes()} for k, path in enumerate(paths)
    ]


def ask(address: str, folder: Path, job: dict[str, Any], requests: list[dict[str, Any]]) -> Any:
    """What comes of a job in a process of its own."""
    given = []
    for number, request in enumerate(requests):
        file = folder / f"body-{number}"
        file.write_bytes(request["body"])
        given.append({**{k: v for k, v in request.items() if k != "body"}, "file": str(file)})
    written = folder / "job.json"
    port = int(address.rpartition(":")[2])
    written.write_text(json.dumps({"host": HOST, "port": port, "requests_of": given, **job}))
    script = Path(__file__).with_name("http_load.py")
    return json.loads(subprocess.check_output([sys.executable, str(script), str(written)]))


def once(address: str, request: dict[str, Any]) -> Any:
    """The answer to one request."""
    with urllib.request.urlopen(f"{address}{request['path']}", data=request["body"]) as answer:
        return json.load(answer)


def labels(answer: dict[str, Any]) -> list[list[str]]:
    """What the load generator may hear."""
    return [[prediction["label"] for prediction in answer["predictions"]]]


def counter(address: str, name: str) -> float:
    """A value of /metrics."""
    with urllib.request.urlopen(f"{address}/metrics") as answer:
        found = re.search(rf"^{name} (\S+)", answer.read().decode(), flags=re.MULTILINE)
    assert found
    return float(found[1])


def is_closed(client: socket.socket) -> bool:
    """Whether the server has closed a connection, and said so."""
    client.settimeout(0.01)
    try:
        return client.recv(100) == b"" or client.recv(1000) is not None
    except TimeoutError:
        return False
    except OSError:
        return True


def throughput(told: dict[str, Any]) -> float:
    """Answers a second."""
    return told["statuses"].get("200", 0) / told["taken"]


def quantile(told: dict[str, Any], percent: float) -> float:
    """Milliseconds within which so many of the answers came."""
    return 1000 * float(np.percentile(told["seconds"], percent))


def latency(rounds: list[dict[str, Any]]) -> str:
    """Medians over rounds of p50 and p99."""
    halves, tails = ([quantile(r, p) for r in rounds] for p in (50, 99))
    errors = sum(n for r in rounds for status, n in r["statuses"].items() if status != "200")
    middle, tail = statistics.median(halves), statistics.median(tails)
    return f"p50 {middle:.1f} ms, p99 {tail:.1f} ms, {errors} errors"


def shortened(told: dict[str, Any]) -> dict[str, Any]:
    """A job's outcome without each of its times."""
    rest = {name: value for name, value in told.items() if name != "seconds"}
    return rest | {f"p{p}_ms": quantile(told, p) for p in (50, 99)}


def brief(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Outcomes by name, without each of their times."""
    return {name: [shortened(told) for told in rounds] for name, rounds in found.items()}


if __name__ == "__main__":
    main()
