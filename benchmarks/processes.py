"""The same run in one process and in several: curves, counts, memory, bytes sent a step.

    python benchmarks/processes.py --folder DIR --images 50 --arc.arc_dropout=0 --engine.epochs=3

makes photos and trains on them in one process and in two; ``--data.path`` names others. Flags of
``arcvit train`` go to each run; fp32 and no augmentation, which equal numbers need, are added. Each
process counts what data parallelism sends after a step, the parameters in its optimizer, and its
memory. The same lies in ``DIR/of_2.json``.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from arcvit.core.metrics import read_metrics
from arcvit.core.result import read_result

CURVES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
EQUAL = ("--engine.precision=fp32", "--data.augment=none", "--engine.keep_checkpoint=true")
CLASSES = 3


def main() -> None:
    """Run each number of processes, then print what came out side by side."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", default="1,2", help="numbers of processes (1,2)")
    parser.add_argument("--folder", type=Path, required=True, help="where runs are left")
    parser.add_argument("--images", type=int, help="make photos: so many to train on")
    options, flags = parser.parse_known_args()
    if options.images:
        flags.append(f"--data.path={made_photos(options.folder / 'photos', options.images)}")
    outcomes = {}
    for number in map(int, options.processes.split(",")):
        out = options.folder / f"of_{number}"
        train(number, out, flags)
        outcomes[number] = outcome(out)
        record = json.dumps(outcomes[number], indent=2) + "\n"
        out.with_suffix(".json").write_text(record)
    print(table(outcomes))


def made_photos(root: Path, images: int) -> Path:
    """Three classes of noise of different brightness: ``images`` to train on, half to measure."""
    draws = np.random.default_rng(0)
    for split, count in (("train", images), ("val", images // 2), ("test", images // 2)):
        for image in range(count):
            name = image % CLASSES
            pixels = draws.normal(100 + 12 * name, 40, (32, 32, 3)).clip(0, 255).astype(np.uint8)
            file = root / split / str(name) / f"{image}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
    return root


def train(processes: int, out: Path, flags: list[str]) -> None:
    """One run, whose processes leave what they counted in its folder's ``counted/``."""
    command = ["train", f"--out={out}", *EQUAL, *flags]
    launcher = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={processes}"]
    folder = out.with_name(f"{out.name}_counted")
    folder.mkdir(parents=True)
    environment = os.environ | {"COUNTED": str(folder), "OMP_NUM_THREADS": "1"}
    subprocess.run([*launcher, __file__, *command], env=environment, check=True)


def count_and_train(folder: Path) -> None:
    """What each process runs: ``arcvit train``, with a look at what is sent and optimized."""
    import torch
    import torch.distributed as dist
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
    from torch.nn.parallel import DistributedDataParallel

    from arcvit.cli.main import main as arcvit
    from arcvit.engine.device import peak_memory_mb

    sent: list[int] = []
    steps: list[int] = []
    optimized: list[int] = []
    whole: list[int] = []
    prepare, init = DistributedDataParallel.__init__, torch.optim.AdamW.__init__

    def counted(self: Any, *args: Any, **kwargs: Any) -> None:
        prepare(self, *args, **kwargs)
        whole.append(sum(p.numel() for p in self.module.parameters()))

        def hook(group: Any, bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
            buffers = self.modules_buffers if bucket.is_last() and self.broadcast_buffers else []
            sent.append(bucket.buffer().nbytes + sum(buffer.nbytes for buffer in buffers))
            steps.append(bucket.is_last())
            return allreduce_hook(group, bucket)

        self.register_comm_hook(None, hook)

    def looked_at(self: Any, groups: Any, **kwargs: Any) -> None:
        init(self, groups, **kwargs)
        held = [p for group in self.param_groups for p in group["params"]]
        optimized.append(sum(p.numel() for p in held))

    DistributedDataParallel.__init__ = counted  # type: ignore[method-assign]
    torch.optim.AdamW.__init__ = looked_at  # type: ignore[method-assign]
    code = arcvit()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    record = {"sent": sum(sent), "optimized": sum(optimized), "whole": sum(whole)}
    record["steps"] = sum(steps)
    record["memory_mb"] = peak_memory_mb(device)
    (folder / f"{os.environ['RANK']}.json").write_text(json.dumps(record))
    sys.exit(code)


def outcome(out: Path) -> dict[str, Any]:
    """What a run came to, and what its processes counted."""
    result, epochs = read_result(out), read_metrics(out)
    counted = [
        json.loads(file.read_text())
        for file in sorted(out.with_name(f"{out.name}_counted").iterdir())
    ]
    last = max((out / "checkpoint").iterdir(), key=lambda path: int(path.name[6:]))
    return {
        "curves": {name: [epoch[name] for epoch in epochs] for name in CURVES},
        "test_accuracy": result.test_accuracy,
        "trained": result.params["adapter"] + result.params["head"],
        "adapter_bytes": result.adapter_bytes,
        "checkpoint_bytes": {f.name: f.stat().st_size for f in sorted(last.iterdir())},
        "images_per_second": result.images_per_second,
        "processes": counted,
    }


def largest_difference(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Of any two values of the curves."""
    return max(
        abs(a - b)
        for name in CURVES
        for a, b in zip(one["curves"][name], other["curves"][name], strict=True)
        if a is not None and b is not None
    )


def table(outcomes: dict[int, dict[str, Any]]) -> str:
    """The runs as lines, each with how far its curves are from the first one's."""
    first = next(iter(outcomes.values()))
    lines = []
    for number, run in outcomes.items():
        lines += [
            f"{number} process(es): curves differ by {largest_difference(first, run):.1e}",
            *(f"  {name}: {values}" for name, values in run["curves"].items()),
            f"  test accuracy {run['test_accuracy']}",
            f"  trained {run['trained']:,} parameters of {run['processes'][0]['whole']:,}; in the"
            " optimizers"
            f" {[p['optimized'] for p in run['processes']]}",
            f"  sent in a step {[p['sent'] // p['steps'] for p in run['processes']]} bytes",
            f"  checkpoint {run['checkpoint_bytes']} bytes",
            f"  memory {[round(p['memory_mb']) for p in run['processes']]} MB",
            f"  {run['images_per_second']:.1f} images/s",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    if "COUNTED" in os.environ:
        count_and_train(Path(os.environ["COUNTED"]))
    else:
        main()
