"""Runs in ONNX Runtime against PyTorch: accuracy, 8 bits, one graph for all, images a second.

    python benchmarks/onnx_runtime.py runs/cifar runs/shapes runs/grocery --images 400

Each run is exported by itself, in single precision and in 8 bits, and all as one graph that takes
adapters as inputs. Prints accuracy on the run's own test images and how often the label is
PyTorch's; then images a second on one of their batches, interleaved: PyTorch with the adapter
folded, ONNX Runtime the same, and the shared graph with one task a batch and with all in one.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from interleaved import add_options, measure, report, write
from torch import Tensor

from arcvit.data.pixels.augment import ToInput
from arcvit.export.adapted import AdaptedModel, logits_on
from arcvit.export.onnx_graph import Session, open_session
from arcvit.export.onnx_inputs import adapter_inputs, input_form
from arcvit.export.onnx_mixed import side_by_side
from arcvit.export.onnx_model import write_onnx
from arcvit.recipe.export import adapted_model
from arcvit.recipe.given import read
from arcvit.recipe.load import LoadedRun, load_run
from arcvit.recipe.measured import open_measured


def main() -> None:
    """Export, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--images", type=int, default=400, help="test images of each run (400)")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    add_options(parser, repeats=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    loaded = [load_run(folder) for folder in options.runs]
    runs = [
        adapted_model(run, name=folder.name)
        for run, folder in zip(loaded, options.runs, strict=True)
    ]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        accuracy = {
            run.name: _accuracy(run, *_test_images(its, options.images), folder, options)
            for run, its in zip(runs, loaded, strict=True)
        }
        for name, int8 in (("shared", False), ("shared-int8", True)):
            write_onnx(runs, folder / name, shared=True, int8=int8)
        sizes = {
            str(file.relative_to(folder)): file.stat().st_size
            for file in sorted(folder.rglob("*.onnx*"))
        }
        for name, size in sizes.items():
            print(f"  {name:<40}{size / 1e6:10.3f} MB")
        competitors = _competitors(runs, folder, options)
        times = measure(competitors, options.repeats, clock=options.clock)
    speeds = {name: [options.batch / s for s in seconds] for name, seconds in times.items()}
    report(f"images a second, batch {options.batch}, {options.threads} threads", speeds)
    write(options.out, {"accuracy": accuracy, "sizes": sizes, "images_per_second": speeds})


def _test_images(run: LoadedRun, count: int) -> tuple[Tensor, np.ndarray]:
    """So many of a run's test images, spread over them, and their labels."""
    split = open_measured(
        run.recipe.data, run.labels, "test", kind=run.task.kind, ignore_unknown=True
    ).split
    places = torch.linspace(0, len(split.paths) - 1, count).long().unique().tolist()
    pixels, errors, _ = read([split.paths[place] for place in places], run.preprocessing)
    assert not errors, errors
    images = ToInput.of(run.preprocessing).eval()(pixels)
    return images, np.array([split.labels[place] for place in places])


def _accuracy(
    run: AdaptedModel,
    images: Tensor,
    labels: np.ndarray,
    folder: Path,
    options: argparse.Namespace,
) -> dict[str, dict[str, float]]:
    batches = images.split(options.batch)
    torch_logits = torch.cat([logits_on(run.model, batch) for batch in batches]).numpy()
    found = {"PyTorch": torch_logits}
    for name, int8 in (("ONNX Runtime", False), ("ONNX Runtime, int8", True)):
        file = folder / f"{run.name}{'-int8' if int8 else ''}.onnx"
        write_onnx([run], file, int8=int8)
        session = open_session(file, threads=options.threads)
        found[name] = np.concatenate([_logits(session, batch) for batch in batches])
    print(f"{run.name}: {len(labels)} test images, {len(run.labels)} labels")
    rows = {}
    for name, logits in found.items():
        rows[name] = {
            "accuracy": float((logits.argmax(-1) == labels).mean()),
            "same_label": float((logits.argmax(-1) == torch_logits.argmax(-1)).mean()),
            "largest_difference": float(np.abs(logits - torch_logits).max()),
        }
        values = "  ".join(f"{key} {value:.4f}" for key, value in rows[name].items())
        print(f"  {name:<20}{values}", flush=True)
    return rows


def _competitors(
    runs: list[AdaptedModel], folder: Path, options: argparse.Namespace
) -> dict[str, Callable[[], object]]:
    first = runs[0]
    images = first.images[:1].expand(options.batch, -1, -1, -1).contiguous()
    folded = first.folded()
    form = input_form(runs)
    given = [adapter_inputs(run, form) for run in runs]
    mixed = side_by_side(given, [row % len(runs) for row in range(options.batch)], form.shapes)
    found: dict[str, Callable[[], object]] = {"PyTorch, folded": lambda: logits_on(folded, images)}
    for suffix in ("", "-int8"):
        what = ", int8" if suffix else ""
        alone = open_session(folder / f"{first.name}{suffix}.onnx", threads=options.threads)
        shared = open_session(folder / f"shared{suffix}" / "backbone.onnx", threads=options.threads)
        found[f"ONNX Runtime, folded{what}"] = lambda s=alone: _logits(s, images)
        found[f"shared graph, one task{what}"] = lambda s=shared: _logits(s, images, given[0])
        name = f"shared graph, {len(runs)} tasks in a batch{what}"
        found[name] = lambda s=shared: _logits(s, images, mixed)
    return found


def _logits(
    session: Session, images: Tensor, given: dict[str, np.ndarray] | None = None
) -> np.ndarray:
    feed = {"pixel_values": images.numpy(), **(given or {})}
    logits: np.ndarray = session.run(["logits"], feed)[0]
    return logits


if __name__ == "__main__":
    main()
