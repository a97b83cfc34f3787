"""What the server's engine does, without HTTP: many tasks in one batch, and 2,000 registered ones.

    python benchmarks/serve_engine.py --backbone vit_small_patch16_224 --repeats 5
    python benchmarks/serve_engine.py --part registry --backbone demo

Throughput, interleaved round by round in one process: a burst of 64 images to 1, 8 and 64 tasks (8
to 81 classes, ARC r=50), a folded model of its own, a loop over PEFT's ``set_adapter`` and LoRA
(r=8 on qkv and fc1) with ``adapter_names``, whose heads are of one size as PEFT needs it. All get
tensors that are ready, so that the model alone is compared. Registry: tasks that are on the device
and tasks that must be read, one request after the other; memory of the process before and after all
of them came by. Prints medians with their spread and ratios; writes JSON with --out.
"""

import argparse
import asyncio
import math
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from interleaved import add_options, judge, measure, ratios, report, write
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

import arcvit
from arcvit.backbones.build import build_backbone
from arcvit.backbones.logits import logits_of
from arcvit.serve.request import Images
from arcvit.serve.service import Service

HEADS = (8, 37, 81)
LIMITS: dict[str, Any] = {"watch": 0, "queue": 4096, "max_wait": 0.05}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="vit_small_patch16_224")
    parser.add_argument("--part", choices=("throughput", "registry", "both"), default="both")
    parser.add_argument("--images", type=int, default=64, help="of a burst (64)")
    parser.add_argument("--registered", type=int, default=2000, help="tasks (2000)")
    parser.add_argument("--resident", type=int, default=64, help="slots (64)")
    parser.add_argument("--seconds", type=float, default=60, help="of misses at most (60)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add_options(parser, repeats=5)
    options = parser.parse_args()
    print(f"{options.backbone}, {options.device}, {torch.get_num_threads()} threads, ", end="")
    print(platform.processor() or platform.machine())
    record: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        backbone = _backbone(options.backbone, Path(name))
        if options.part != "registry":
            record["throughput"] = _throughput(options, backbone, Path(name) / "tasks")
        if options.part != "throughput":
            record["registry"] = _registry(options, backbone, Path(name) / "many")
    write(options.out, record)


def _throughput(options: argparse.Namespace, backbone: str, folder: Path) -> dict[str, Any]:
    names = [f"task-{index}" for index in range(64)]
    _save_tasks(backbone, folder, [*names, "folded"])
    (folder / "adapters.yaml").write_text("folded: [folded]")
    settings = {**LIMITS, "device": options.device, "max_batch": options.images}
    service = Service.start(backbone, folder, **settings)
    loop = asyncio.new_event_loop()
    size = (options.images, 3, *service.input_size)
    inputs = torch.randn(size, generator=torch.Generator().manual_seed(0))
    arrays = [Images(inputs=row[None].numpy()) for row in inputs]
    peft = _peft(backbone, names, options.device)
    lora = _lora(backbone, names, options.device)
    on_device = inputs.to(options.device)

    def burst(tasks: list[str]) -> Callable[[], None]:
        async def asked() -> None:
            every = [
                service.predict(tasks[index % len(tasks)], image)
                for index, image in enumerate(arrays)
            ]
            await asyncio.gather(*every)

        return lambda: loop.run_until_complete(asked())

    @torch.inference_mode()
    def switching() -> None:
        for index, name in enumerate(names[: options.images]):
            peft.set_adapter(name)
            logits_of(peft(on_device[index : index + 1])).cpu()

    @torch.inference_mode()
    def mixed_lora() -> None:
        rows = [names[index % len(names)] for index in range(options.images)]
        logits_of(lora(on_device, adapter_names=rows)).cpu()

    competitors: dict[str, Callable[[], object]] = {
        "1 task": burst(names[:1]),
        "8 tasks": burst(names[:8]),
        "64 tasks": burst(names),
        "a folded model": burst(["folded"]),
        "PEFT, set_adapter for each image": switching,
        "PEFT, LoRA with adapter_names": mixed_lora,
    }
    times = measure(competitors, options.repeats, clock=options.clock)
    loop.run_until_complete(service.drain(10))
    rates = {name: [options.images / s for s in seconds] for name, seconds in times.items()}
    report("images a second", rates)
    one = times["1 task"]
    compared = {f"{n} / 1 task": ratios(one, t) for n, t in times.items() if n != "1 task"}
    report("throughput, round by round", compared)
    return {"seconds": times, "ratios": compared}


def _registry(options: argparse.Namespace, backbone: str, folder: Path) -> dict[str, Any]:
    names = [f"task-{index:04d}" for index in range(options.registered)]
    _save_tasks(backbone, folder, names)
    start = time.perf_counter()
    settings = {**LIMITS, "max_wait": 0, "device": options.device, "slots": options.resident}
    service = Service.start(backbone, folder, memory=2 * options.resident, **settings)
    ready = time.perf_counter() - start
    start = time.perf_counter()
    service.refresh()
    looked = time.perf_counter() - start
    image = Images(inputs=np.zeros((1, 3, *service.input_size), np.float32))

    async def ask(asked: list[str], within: float = math.inf) -> list[float]:
        seconds = []
        until = time.perf_counter() + within
        for name in asked:
            begun = time.perf_counter()
            if begun > until:
                break
            await service.predict(name, image)
            seconds.append(1000 * (time.perf_counter() - begun))
        return seconds

    async def measured() -> tuple[dict[str, list[float]], list[float]]:
        hits = names[: options.resident]
        await ask(hits)
        found = {"hit": await ask(hits * 2)}
        rest = names[options.resident :]
        memory = [_resident_mb()]
        found["miss"] = []
        for part in range(4):
            found["miss"] += await ask(rest[part::4], options.seconds / 4)
            memory.append(_resident_mb())
        await service.drain(10)
        return found, memory

    latency, memory = asyncio.run(measured())
    print(f"{len(names)} tasks registered: ready in {ready:.2f} s, looked at in {looked:.3f} s")
    report("milliseconds until the answer of one image", latency)
    for name, values in latency.items():
        print(f"  {f'99th percentile, {name}':<44}{np.percentile(values, 99):8.3f}")
    asked = len(latency["miss"])
    print(
        f"MB of the process, after each quarter of {asked} misses:", *[f"{mb:.0f}" for mb in memory]
    )
    judge("MB grown from the first quarter to the last", memory[-1] - memory[1], at_most=10)
    middle = {name: statistics.median(values) for name, values in latency.items()}
    return {"milliseconds": middle, "memory_mb": memory, "ready": ready, "looked": looked}


def _backbone(name: str, folder: Path) -> str:
    """The backbone, with random weights where nothing else is at hand."""
    if name == "demo":
        return name
    import timm
    import timm.models

    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=0)
    timm.models.save_for_hf(model, folder / "backbone", safe_serialization=True)
    return str(folder / "backbone")


def _save_tasks(backbone: str, folder: Path, names: list[str]) -> None:
    """Tasks of three sizes; those of one size are copies, which the server can't know."""
    made = folder.with_name("made")
    for index in range(len(HEADS)):
        _save_arc(backbone, made / str(index), index)
    for index, name in enumerate(names):
        shutil.copytree(made / str(index % len(HEADS)), folder / name)


def _save_arc(backbone: str, folder: Path, index: int) -> None:
    labels = HEADS[index % len(HEADS)]
    config = arcvit.ArcConfig(r=50, modules_to_save=[_built(backbone, labels).head])
    model = get_peft_model(_built(backbone, labels).model, config)
    _draw(model, index)
    names = [f"class {k}" for k in range(labels)]
    arcvit.save_adapter(model, folder, labels=names, backbone=backbone)


def _peft(backbone: str, names: list[str], device: str) -> PeftModel:
    built = _built(backbone, HEADS[-1])

    def config() -> arcvit.ArcConfig:
        return arcvit.ArcConfig(r=50, modules_to_save=[built.head])

    return _with_all(built.model, config, names, device)


def _lora(backbone: str, names: list[str], device: str) -> PeftModel:
    built = _built(backbone, HEADS[-1])

    def config() -> LoraConfig:
        return LoraConfig(r=8, target_modules=["qkv", "fc1"], modules_to_save=[built.head])

    return _with_all(built.model, config, names, device)


def _with_all(
    model: nn.Module, config: Callable[[], Any], names: list[str], device: str
) -> PeftModel:
    adapted = get_peft_model(model, config(), adapter_name=names[0])
    for name in names[1:]:
        adapted.add_adapter(name, config())
    _draw(adapted, 0)
    return adapted.eval().to(device)


def _draw(model: nn.Module, seed: int) -> None:
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".arc_" in name or ".lora_" in name or "modules_to_save" in name:
                nn.init.normal_(parameter, std=0.05)


def _built(backbone: str, labels: int) -> Any:
    return build_backbone(backbone, num_classes=labels)


def _resident_mb() -> float:
    if not os.path.exists("/proc/self/statm"):
        return float("nan")
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
