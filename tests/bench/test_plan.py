"""The time of a plan: devices that are known, workers that share them, a speed that is kept."""

import json
from pathlib import Path

import pytest
import torch

from arcvit.bench import speed
from arcvit.bench.devices import DEVICES, recognised
from arcvit.bench.plan import AROUND, Part, Workers
from arcvit.bench.sizes import Sizes, sizes_of
from arcvit.bench.suite import SuiteTask
from arcvit.executors.choose import executor_flags, planned_workers
from arcvit.recipe.parser import parse_recipe

H200 = DEVICES["h200"]
HERE = speed.Device(name="this CPU", rate=1e12, origin="")


@pytest.mark.parametrize(
    ("driver", "name"),
    [
        ("NVIDIA H200", "h200"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("Tesla T4", None),
    ],
)
def test_what_drivers_call_devices(driver: str, name: str | None) -> None:
    found = recognised(driver)
    assert (found and found.name) == name


def test_one_device_is_measured_and_the_others_say_that_they_are_estimates() -> None:
    measured = json.loads(Path("benchmarks/results/gpu-h200.json").read_text())
    images = measured["parts"]["step: 64 arc graph"]["images_per_second"]
    assert H200.rate == pytest.approx(images * 69_825_533_952, rel=1e-3)
    assert [d.name for d in DEVICES.values() if not d.origin.startswith("estimate")] == ["h200"]
    assert DEVICES["h100"].rate == pytest.approx(H200.rate * 3.35 / 4.8)


def test_workers_share_devices_and_the_longest_path_remains() -> None:
    part = Part(trials=3, seeds=3, trial=H200.rate * 10, final=H200.rate * 20)
    one = 3 * 10 + 3 * 20 + 6 * AROUND
    assert part.seconds(H200.rate) == pytest.approx(one)
    parts = [part] * 4
    assert Workers(2, 1, 2).seconds(parts, H200) == pytest.approx(4 * one / 2)
    assert Workers(100, 1, 100).seconds(parts, H200) == pytest.approx(10 + 20 + 2 * AROUND)
    # Two runs at once on this machine's one processor save what lies around a run alone.
    work = 4 * (3 * 10 + 3 * 20) * H200.rate / HERE.rate
    assert Workers(2, 1, 2).seconds(parts, HERE) == pytest.approx(work + 4 * 6 * AROUND / 2)


def test_images_are_counted_as_they_will_be_opened(tmp_path: Path) -> None:
    lines = [f"{i}.png,{'ab'[i % 2]},{'train' if i < 8 else 'test'}" for i in range(10)]
    for index in range(10):
        (tmp_path / f"{index}.png").touch()
    (tmp_path / "mine.csv").write_text("\n".join(["path,kind,split", *lines]))
    flags = ["--data.label_column=kind", "--data.shots=1", "--data.val_fraction=0.5"]
    recipe = parse_recipe(flags, {"data": {"path": "mine.csv"}})
    task = SuiteTask(name="mine", group="g", path="mine.csv")
    assert sizes_of(task, tmp_path, recipe) == Sizes(classes=2, train=2, trainval=2, test=2)


@pytest.mark.parametrize(
    ("kind", "jobs", "flags", "planned"),
    [
        ("local", None, [], (1, 1, 1)),
        ("local", 8, [], (8, 1, 8)),
        ("ray", 8, ["--ray.num_gpus=0.5", "--ray.num_cpus=2"], (8, 16, 4)),
        ("slurm", 4, ["--slurm.cpus_per_task=2"], (4, 8, 4)),
    ],
)
def test_workers_of_a_plan(
    kind: str, jobs: int | None, flags: list[str], planned: tuple[int, float, float]
) -> None:
    if torch.cuda.is_available():
        pytest.skip("counts the threads of a machine without a GPU")
    count, here, elsewhere = planned_workers(kind, jobs, executor_flags(flags)[1])
    here *= 1 if kind == "local" else torch.get_num_threads()
    assert (count, here, elsewhere) == planned


def test_the_speed_of_this_machine_is_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(speed, "_SECONDS", 0.0)
    recipe = parse_recipe(
        ["--engine.precision=fp32", "--engine.device=cpu"], {"data": {"path": "-"}}
    )
    first = speed.this_machine(recipe)
    file = tmp_path / speed.SPEED_FILE
    assert speed.this_machine(recipe) == first
    ((device, kept),) = json.loads(file.read_text()).items()
    file.write_text(json.dumps({device: dict.fromkeys(kept, 1000000000.0)}))
    assert speed.this_machine(recipe).rate == 0.7e9
    file.write_text("{")
    assert speed.this_machine(recipe).rate > 0
