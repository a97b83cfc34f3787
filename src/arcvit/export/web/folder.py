"""A folder that any web server can hand out: a page whose model runs in the visitor's browser.

It holds the page, ONNX Runtime for browsers, ``backbone.onnx`` with the adapter as inputs
(:mod:`arcvit.export.onnx_inputs`), which all tasks share, and of each task
``adapters/TASK.json`` and ``adapters/TASK.bin``: what its outputs mean with the place of each
input, and the numbers themselves, ``float32`` with the lowest byte first. Browsers have no
``.onnx_adapter``, and take no defaults for inputs.
"""

import math
import shlex
from collections.abc import Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from arcvit.core.files import read_json, write_json, write_text
from arcvit.data.pixels.preset import Decoding
from arcvit.export.adapted import AdaptedModel, Written
from arcvit.export.onnx_graph import onnx_metadata, open_session, save_onnx
from arcvit.export.onnx_inputs import InputForm, adapter_inputs, input_form
from arcvit.export.onnx_shared import GRAPH, check_names, shared_graph
from arcvit.export.web.runtime import write_runtime
from arcvit.export.web.weights import store_in_fp16, store_in_int8

ADAPTERS = "adapters"
INDEX = "index.json"
FP16_TOLERANCE, INT8_TOLERANCE = 2e-3, 5e-2
"""Largest difference of logits that rounded weights explain, relative to the largest."""
_SCRIPTS = ("local.js", "worker.js", "pixels.js", "resize.js", "answer.js")
_LOADING = "python -m http.server --directory {place} 8000  # then open localhost:8000"


def write_web(
    runs: Sequence[AdaptedModel], out: Path, *, runtime: str | None = None, int8: bool = False
) -> Written:
    """Write the folder, and compare each task as it lies there in ONNX Runtime.

    Args:
        runs: on one backbone, of one variant.
        out: the folder, which isn't there yet.
        runtime: the npm package with ONNX Runtime for browsers; None: npm gets it.
        int8: whether the backbone's weights are stored in 8 bits, not in half precision.

    Raises:
        UserError: the runs can't share a graph, it can't be exported, the runtime can't be had, or
            logits differ by more than rounded weights explain.
    """
    check_names(runs)
    form = input_form(runs)
    out.mkdir()
    write_runtime(runtime, out / "runtime")
    _write_page(out)
    _write_graph(runs[0], form, out / GRAPH, int8=int8)
    tasks = [_write_task(run, form, out / ADAPTERS) for run in runs]
    loaded = sum((out / name).stat().st_size for name in (GRAPH, "runtime/ort.wasm"))
    write_json(out / INDEX, {"graph": GRAPH, "bytes": loaded, "tasks": tasks})
    session = open_session(out / GRAPH)
    differences = []
    for run in runs:
        given = read_inputs(out / ADAPTERS, run.name)
        (logits,) = session.run(["logits"], {"pixel_values": run.images.numpy(), **given})
        found = torch.from_numpy(logits)
        differences.append(_compared(run, found, int8=int8))
    before = sum(
        f.stat().st_size for f in out.rglob("*") if f.is_file() and f.parent.name != ADAPTERS
    )
    task = max(task["bytes"] for task in tasks)
    notes = [
        f"A browser loads {before / 1e6:.1f} MB once, and up to {math.ceil(task / 1e3):,} KB for"
        " each task that is chosen."
    ]
    if any(run.preprocessing.grey_max != Decoding.grey_max for run in runs):
        notes.append("Grey photos of 16 bits are read from 0 to 65,535 there, not as the run says.")
    return Written(
        difference=max(differences),
        loading=lambda place: _LOADING.format(place=shlex.quote(str(place))),
        notes=tuple(notes),
    )


def read_inputs(folder: Path, name: str) -> dict[str, np.ndarray]:
    """A task's inputs as the page reads them, by name."""
    values = np.fromfile(folder / f"{name}.bin", "<f4")
    places: Mapping[str, Any] = read_json(folder / f"{name}.json")["inputs"]
    return {
        key: values[place["offset"] // 4 :][: math.prod(place["dims"])].reshape(place["dims"])
        for key, place in places.items()
    }


def _write_task(run: AdaptedModel, form: InputForm, folder: Path) -> dict[str, Any]:
    """Write a task's two files; its line in the index."""
    folder.mkdir(exist_ok=True)
    inputs = _all_inputs(run, form)
    places, offset = {}, 0
    for name, value in inputs.items():
        places[name] = {"dims": value.shape, "offset": offset}
        offset += value.nbytes
    (folder / f"{run.name}.bin").write_bytes(b"".join(v.tobytes() for v in inputs.values()))
    write_json(folder / f"{run.name}.json", {**onnx_metadata(run), "inputs": places})
    size = sum((folder / f"{run.name}.{end}").stat().st_size for end in ("bin", "json"))
    return {"name": run.name, "labels": len(run.labels), "kind": run.task.kind, "bytes": size}


def _all_inputs(run: AdaptedModel, form: InputForm) -> dict[str, np.ndarray]:
    """All inputs but the images: what a task doesn't have is zero."""
    given = adapter_inputs(run, form)
    sizes = {"rows": 1} | {
        axis: length
        for name, value in given.items()
        for axis, length in zip(form.shapes[name], value.shape, strict=True)
        if isinstance(axis, str)
    }
    whole = {}
    for name, shape in form.shapes.items():
        zeros = [sizes.get(axis, 1) if isinstance(axis, str) else axis for axis in shape]
        whole[name] = given.get(name, np.zeros(zeros, np.float32)).astype("<f4")
    return whole


def _compared(run: AdaptedModel, logits: Tensor, *, int8: bool) -> float:
    if not int8:
        what = "the graph, with weights in half precision, in ONNX Runtime"
        return run.compare(logits, what, tolerance=FP16_TOLERANCE)
    what = "the graph, with weights in 8 bits, in ONNX Runtime"
    return run.compare(logits, what, tolerance=INT8_TOLERANCE, advice="leave out int8")


def _write_graph(run: AdaptedModel, form: InputForm, file: Path, *, int8: bool) -> None:
    import onnx

    save_onnx(shared_graph(run, form), file, metadata={})
    model = onnx.load(file)
    (store_in_int8 if int8 else store_in_fp16)(model)
    onnx.save(model, file)


def _write_page(out: Path) -> None:
    """The page: what it has in common with the server's, and its own."""
    own = files("arcvit.export.web").joinpath("static")
    package = files("arcvit")
    shared = package.joinpath("assets", "photo_page")
    html = _text(own.joinpath("index.html"))
    write_text(out / "index.html", html.replace("PHOTOS", _text(shared.joinpath("photos.html"))))
    style = package.joinpath("pages", "templates", "style.css")
    write_text(out / "page.css", _text(style) + _text(shared.joinpath("page.css")))
    write_text(out / "photos.js", _text(shared.joinpath("photos.js")))
    for name in _SCRIPTS:
        write_text(out / name, _text(own.joinpath(name)))


def _text(file: Traversable) -> str:
    return file.read_text(encoding="utf-8")
