"""One ONNX graph for many tasks, and a small file for each.

A folder holds ``backbone.onnx``, which takes adapters as inputs (:mod:`arcvit.export.onnx_inputs`),
and of each task ``TASK.onnx_adapter``, ONNX Runtime's own format for such inputs, and ``TASK.json``
with its labels, preprocessing and calibration (:func:`~arcvit.export.onnx_graph.onnx_metadata`).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from arcvit.core.errors import UserError
from arcvit.core.files import write_json
from arcvit.core.shown import python_text
from arcvit.export.adapted import AdaptedModel, Written
from arcvit.export.onnx_graph import (
    onnx_metadata,
    open_session,
    run_split,
    save_onnx,
    to_onnx,
)
from arcvit.export.onnx_inputs import AdaptersAsInputs, InputForm, adapter_inputs, input_form
from arcvit.export.onnx_int8 import compared, round_weights

GRAPH = "backbone.onnx"
_BATCH = 2
_LOADING = """\
import onnxruntime as ort
ort.set_default_logger_severity(3)  # it warns of every input that has a default
session = ort.InferenceSession({graph})
adapter, options = ort.LoraAdapter(), ort.RunOptions()
adapter.Load({adapter})
options.add_active_adapter(adapter)  # keep the adapter: options don't
logits, likeness = session.run(None, {{"pixel_values": images}}, options)"""


def write_shared(runs: Sequence[AdaptedModel], out: Path, *, int8: bool = False) -> Written:
    """Write the graph and the tasks into a folder, and compare each task in ONNX Runtime.

    Args:
        runs: on one backbone, of one variant.
        out: the folder, which isn't there yet.
        int8: whether the backbone's weights are rounded to 8 bits.

    Raises:
        UserError: the runs can't share a graph, it can't be exported, or logits differ.
    """
    check_names(runs)
    out.mkdir()
    form = input_form(runs)
    save_onnx(shared_graph(runs[0], form), out / GRAPH, metadata={"inputs": describe(form)})
    if int8:
        round_weights(out / GRAPH)
    _add_defaults(out / GRAPH, form)
    session = open_session(out / GRAPH)
    differences = []
    for run in runs:
        write_adapter_file(adapter_inputs(run, form), out / f"{run.name}.onnx_adapter")
        write_json(out / f"{run.name}.json", onnx_metadata(run))
        with active(out / f"{run.name}.onnx_adapter") as options:
            found = run_split(session, run.images, run_options=options)
        differences.append(compared(run, found["logits"], f"{run.name} in ONNX Runtime", int8=int8))
    first = f"{runs[0].name}.onnx_adapter"
    return Written(
        difference=max(differences),
        loading=lambda place: _LOADING.format(
            graph=python_text(place / GRAPH), adapter=python_text(place / first)
        ),
    )


def check_names(runs: Sequence[AdaptedModel]) -> None:
    """Refuse two runs of one name.

    Raises:
        UserError: a file would be named by both.
    """
    names = [run.name for run in runs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"two runs are named {twice!r}, and a file is named by each: rename one.")


def shared_graph(run: AdaptedModel, form: InputForm) -> Any:
    """The graph for all runs of a form, a ``torch.onnx.ONNXProgram``; any of them has the backbone.

    Its inputs have no defaults yet.
    """
    import onnx_ir as ir

    shapes = form.shapes
    # Sizes of the example that may vary and aren't the same must differ.
    varying = list(
        dict.fromkeys(s for shape in shapes.values() for s in shape if isinstance(s, str))
    )
    sizes = {axis: 2 * _BATCH + place for place, axis in enumerate(varying)} | {"rows": _BATCH}
    # Traced with a row for each image: to export one for all would leave no room for more.
    takes = {"pixel_values": {0: "batch"}} | {
        name: {
            at: "batch" if s == "rows" else s for at, s in enumerate(shape) if isinstance(s, str)
        }
        for name, shape in shapes.items()
    }
    program = to_onnx(
        AdaptersAsInputs(run, form),
        {"pixel_values": run.images[:1].expand(_BATCH, -1, -1, -1)}
        | {name: torch.zeros([_size(s, sizes) for s in shape]) for name, shape in shapes.items()},
        takes=takes,
        gives={name: {0: "batch", 1: "labels"} for name in ("logits", "likeness")},
        what=f"the backbone {run.task.backbone.name!r}",
    )
    graph = program.model.graph
    _take_batch_of_images(graph)
    for value in graph.inputs[1:]:
        value.shape = ir.Shape(shapes[value.name])
    return program


def describe(form: InputForm) -> dict[str, Any]:
    """The inputs but the images, by name: their shapes, and of a group the names of its sites."""
    sites = {group.name: list(group.sites) for group in form.groups}
    return {"shapes": form.shapes, "sites": sites}


def write_adapter_file(inputs: Mapping[str, np.ndarray], file: Path) -> None:
    """Write inputs in ONNX Runtime's format for adapters."""
    import onnxruntime

    values = {k: onnxruntime.OrtValue.ortvalue_from_numpy(v) for k, v in inputs.items()}
    adapter = onnxruntime.AdapterFormat()
    adapter.set_parameters(values)
    adapter.export_adapter(str(file))


@contextmanager
def active(file: Path) -> Iterator[Any]:
    """``onnxruntime.RunOptions`` by which a session takes an adapter from a file, within it.

    The options don't keep the adapter: without it a session silently goes by the defaults.
    """
    import onnxruntime

    adapter, options = onnxruntime.LoraAdapter(), onnxruntime.RunOptions()
    adapter.Load(str(file))
    options.add_active_adapter(adapter)
    yield options
    del adapter


def _add_defaults(file: Path, form: InputForm) -> None:
    """Give all inputs but the images a default: ONNX Runtime takes none without from a file.

    Without adapters it is the plain backbone then, with a head of one label that is always zero.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(file)
    for name, shape in form.shapes.items():
        zeros = np.zeros([_size(axis, {}) for axis in shape], np.float32)
        model.graph.initializer.append(numpy_helper.from_array(zeros, name))
    onnx.save(model, file)


def _size(size: int | str, named: Mapping[str, int]) -> int:
    return named.get(size, 1) if isinstance(size, str) else size


def _take_batch_of_images(graph: Any) -> None:
    """Let the images alone say how many they are: the exporter asks any input that was as long."""
    images, *others = graph.inputs
    names = {value.name for value in others}
    for node in graph:
        if node.op_type == "Shape" and node.inputs[0].name in names:
            asked = {key: attribute.value for key, attribute in node.attributes.items()}
            if asked == {"start": 0, "end": 1}:
                node.replace_input_with(0, images)
