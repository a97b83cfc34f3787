"""A model of torch as an ONNX file, and back in ONNX Runtime."""

import json
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from arcvit.core.errors import UserError
from arcvit.export.adapted import AdaptedModel
from arcvit.export.metadata import metadata
from arcvit.export.torch_program import why_not_exported

MOST_BYTES = 2**31 - 2**20
"""More than a protobuf file, which ONNX is, can't have."""

_OPERATION = re.compile(r"(?:torch\.ops\.|aten[.:]+)[\w.:]+")

Axes = Mapping[int, str]
"""Names of the axes of a tensor whose size may vary, by their place."""

Session = Any
"""An ``onnxruntime.InferenceSession``."""


def to_onnx(
    model: nn.Module,
    example: Mapping[str, Tensor],
    *,
    takes: Mapping[str, Axes],
    gives: Mapping[str, Axes],
    what: str,
) -> Any:
    """Export a model that takes images and, where there are more inputs, a dict of all others.

    Args:
        model: what is exported, in evaluation mode.
        example: inputs by name, the images first; sizes that may vary and aren't the same differ.
        takes: names of the axes of inputs whose size may vary; axes of one name are of one size.
        gives: the same of the outputs, in their order.
        what: the model, for messages.

    Returns:
        A ``torch.onnx.ONNXProgram``, in the opset that torch recommends.

    Raises:
        UserError: it can't be exported; the operation is named.
    """
    import onnx_ir as ir

    named = dict.fromkeys(axis for axes in takes.values() for axis in axes.values())
    sizes = {axis: torch.export.Dim(f"size_{place}") for place, axis in enumerate(named)}
    varying = [{at: sizes[axis] for at, axis in takes[name].items()} for name in example]
    images, *others = example.values()
    arguments: tuple[Any, ...] = (images,)
    dynamic: tuple[Any, ...] = (varying[0],)
    if others:
        names = list(example)[1:]
        arguments += (dict(zip(names, others, strict=True)),)
        dynamic += (dict(zip(names, varying[1:], strict=True)),)
    try:
        with _quiet(), torch.no_grad():
            traced = torch.export.export(model, arguments, dynamic_shapes=dynamic, strict=False)
            program: Any = torch.onnx.export(
                traced,
                dynamo=True,
                input_names=list(example),
                output_names=list(gives),
                verbose=False,
            )
    except MemoryError:
        raise
    except Exception as error:  # tracing runs the model's own code, which may raise anything
        raise UserError(
            f"{what} can't be exported to ONNX: {_operation(error)}; try --format torch."
        ) from error
    graph = program.model.graph
    for values, axes_of in ((graph.inputs, takes), (graph.outputs, gives)):
        for value in values:
            axes = axes_of[value.name]
            value.shape = ir.Shape([axes.get(at, size) for at, size in enumerate(value.shape)])
    for node in graph.all_nodes():  # where in the code each is from, by paths of this machine
        node.metadata_props.clear()
    return program


def save_onnx(program: Any, file: Path, *, metadata: Mapping[str, Any]) -> None:
    """Write a program as one file, with metadata: texts as they are, anything else as JSON.

    Raises:
        UserError: it is larger than such a file can be.
    """
    for key, value in metadata.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        # Folders, whose names classes have, needn't be UTF-8: JSON has an escape for that.
        program.model.metadata_props[key] = text.encode("utf-8", "backslashreplace").decode()
    size = sum(value.const_value.nbytes for value in program.model.graph.initializers.values())
    if size > MOST_BYTES:
        raise UserError(
            f"the model has {size / 1e9:.1f} GB, and an ONNX file holds 2: expected a smaller"
            " backbone, or --format torch."
        )
    program.save(file, external_data=False)


def onnx_metadata(run: AdaptedModel) -> dict[str, Any]:
    """What a run's outputs mean, and from which largest likeness on an image is known."""
    calibration = None if run.means is None else run.task.calibration
    return {
        **metadata(run.task),
        "known_from": None if calibration is None else calibration.threshold,
    }


def open_session(file: Path, *, threads: int | None = None) -> Session:
    """A model in ONNX Runtime, on the CPU, which says nothing of its own.

    Args:
        file: the model.
        threads: how many compute; None: one a core.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads or 0
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def run_split(session: Session, images: Tensor, **options: Any) -> dict[str, Tensor]:
    """All outputs by name, for the first image by itself and the others together.

    Two batches show that their size may vary.
    """
    names = [output.name for output in session.get_outputs()]
    batches = [batch for batch in (images[:1], images[1:]) if len(batch)]
    found = [session.run(None, {"pixel_values": b.numpy()}, **options) for b in batches]
    return {
        name: torch.from_numpy(np.concatenate(parts))
        for name, parts in zip(names, zip(*found, strict=True), strict=True)
    }


def _operation(error: Exception) -> str:
    """What couldn't be exported, in a line: the operation where an error names one, or the code."""
    seen: BaseException | None = error
    while seen is not None:
        named = _OPERATION.search(str(seen))
        if named:
            return f"ONNX has no {named[0].rstrip('.:')}"
        seen = seen.__cause__ or seen.__context__
    return why_not_exported(error)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of itself."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
