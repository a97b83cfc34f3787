"""What the benchmark of a GPU runs as processes of its own: a first step, training, inference."""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from gpu_parts import finished
from PIL import Image

from arcvit.data.catalogue import suite_tasks

HERE = Path(__file__).parent
TEST_IMAGES = 387_904
TASKS = 19
EPOCHS = 100
"""What VTAB-1k has in all, and how long the paper trains."""

GOES_BY = {
    "decoding": "images",
    "start": "tasks",
    "training": "epochs",
    "evaluation": "tests",
    "other": "tasks",
    "elsewhere": "images",
}
"""What the seconds of each part of ``vtab_scale.py`` grow with."""


class Commands:
    """Commands on one device, in a folder that is removed.

    Args:
        backbone: timm name, or ``quick``.
        device: cpu or cuda.
    """

    def __init__(self, backbone: str, device: str) -> None:
        self._named, self._device = backbone, device
        self._quick = backbone == "quick"
        self._backbone = "test_vit" if self._quick else backbone
        self._temporary = tempfile.TemporaryDirectory()
        self._folder = Path(self._temporary.name)

    def first_step(self, name: str) -> dict[str, Any]:
        """Seconds of a competitor's compiled step, the first in its process.

        The compiler's cache is empty at first, and filled when it is asked again.
        """
        command = ["gpu.py", "--first", name, "--backbone", self._named, "--device", self._device]
        folder = str(self._folder / name)
        printed = self._run(command, env={"TORCHINDUCTOR_CACHE_DIR": folder})
        found: dict[str, Any] = json.loads(printed.splitlines()[-1])
        return found

    def folded(self) -> dict[str, Any]:
        """Throughput at inference over the plain backbone's."""
        found = self._written(
            ["inference.py", "--backbone", self._backbone, "--precision=bf16"],
            ["--batch=2", "--repeats=1"] if self._quick else ["--batch=64", "--repeats=15"],
        )
        throughput = {name: _median(values) for name, values in found["throughput"].items()}
        return {"throughput": throughput, "difference": found["difference"]}

    def many_tasks(self) -> dict[str, Any]:
        """64 rows of 64 adapters: seconds a batch, and over the plain backbone's and LoRA's."""
        found = self._written(
            ["mixed_batch.py"],
            ["--rows=2", "--repeats=1"] if self._quick else ["--rows=64", "--repeats=5"],
        )
        ratios = {name: _median(values) for name, values in found["ratios"].items()}
        return {**ratios, "difference": found["difference"]}

    def train(self, batch: int, *flags: str) -> dict[str, Any]:
        """Images a second of ``arcvit train`` as it comes: in all, and in its median epoch.

        Args:
            batch: batch size.
            flags: further flags.
        """
        images, epochs = (40, 2) if self._quick else (1000, 100)
        data, out = self._images(images), self._folder / f"train-{batch}-{len(flags)}"
        command = ["-m", "arcvit.cli.main", "train", "--data.check=skip", "--quiet"]
        command += [f"--data.path={data}", f"--out={out}", f"--engine.batch_size={batch}"]
        command += [f"--engine.epochs={epochs}", f"--engine.device={self._device}", *flags]
        if not self._quick:
            command += [f"--backbone={self._backbone}", "--weights=random"]
        self._run(command)
        result = json.loads((out / "result.json").read_text(encoding="utf-8"))
        lines = (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        paces = [epoch["images_per_second"] for epoch in map(json.loads, lines)]
        return {
            "images_per_second": result["images_per_second"],
            "median_epoch": _median(paces),
            "first_epoch": paces[0],
            "seconds": result["seconds"],
        }

    def vtab(self) -> dict[str, Any]:
        """Three tasks of VTAB-1k at their size, and what all 19 with every test image would take.

        Training goes by epochs, of which there are 30 here and 100 in the paper. Decoding and what
        is outside the runs (a look at every image) go by images, testing by test images.
        """
        tasks, share, epochs = ["caltech101", "patch_camelyon", "dsprites_loc"], 0.05, 30
        if self._quick:
            tasks, share, epochs = ["svhn"], 0.001, 1
        found = self._written(
            ["vtab_scale.py", "--backbone", self._backbone, "--tasks", ",".join(tasks)],
            [f"--share={share}", f"--epochs={epochs}", f"--device={self._device}"],
            [] if self._quick else ["--compile=graph"],
        )
        taken = [task for task in suite_tasks("vtab") if task.name in tasks]
        tests = sum(max(task.classes, round(task.test * share)) for task in taken)
        every = {
            "tasks": TASKS / len(tasks),
            "epochs": TASKS / len(tasks) * EPOCHS / epochs,
            "images": (TEST_IMAGES + 1000 * TASKS) / (tests + 1000 * len(tasks)),
            "tests": TEST_IMAGES / tests,
        }
        whole = {part: seconds * every[GOES_BY[part]] for part, seconds in found["parts"].items()}
        return {
            "seconds": found["command"],
            "parts": found["parts"],
            "by_task": found["tasks"],
            "test_images": tests,
            "all_19_tasks": whole,
            "all_19_tasks_minutes": sum(whole.values()) / 60,
        }

    def _written(self, *command: list[str]) -> dict[str, Any]:
        """What a benchmark writes."""
        out = self._folder / "out.json"
        self._run([*(part for some in command for part in some), "--out", str(out)])
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return found

    def _run(self, command: list[str], *, env: dict[str, str] | None = None) -> str:
        """What a command of Python prints; the end of its error becomes ours."""
        if command[0].endswith(".py"):
            command = [str(HERE / command[0]), *command[1:]]
        return finished([sys.executable, *command], env={**os.environ, **(env or {})})

    def _images(self, count: int) -> Path:
        """Made images of ten classes, a few different ones under many names."""
        folder = self._folder / "images"
        if not folder.exists():
            draws = np.random.default_rng(0)
            for index in range(count):
                file = folder / f"class-{index % 10}" / f"{index}.jpg"
                file.parent.mkdir(parents=True, exist_ok=True)
                if index < 20:
                    pixels = draws.integers(0, 256, (64, 64, 3), dtype=np.uint8)
                    Image.fromarray(pixels).resize((256, 256)).save(file)
                else:
                    os.link(folder / f"class-{index % 10}" / f"{index % 20}.jpg", file)
        return folder


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
