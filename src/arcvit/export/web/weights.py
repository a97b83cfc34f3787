"""Smaller weights in an ONNX file: stored in few bits, single precision again once it is loaded.

Only what is downloaded gets smaller. ONNX Runtime computes what depends on constants alone when it
opens a file, so answers take as long as before, and activations keep their precision.
"""

from typing import Any

import numpy as np

_FEWEST = 1024
"""Numbers from which on a tensor counts: biases and norms stay as they are."""


def store_in_fp16(model: Any) -> None:
    """Store the large tensors of an ``onnx.ModelProto`` in half precision, where its range does."""
    from onnx import TensorProto, helper, numpy_helper

    for tensor, values in _large(model.graph):
        if np.abs(values).max() > np.finfo(np.float16).max:
            continue
        stored = numpy_helper.from_array(values.astype(np.float16), f"{tensor.name}.fp16")
        cast = helper.make_node("Cast", [stored.name], [tensor.name], to=TensorProto.FLOAT)
        _replace(model.graph, tensor, [stored], [cast])


def store_in_int8(model: Any) -> None:
    """Store the weights of linear and convolutional layers in 8 bits, in place, the rest in fp16.

    Each output has a scale, by which its largest weight is 127: symmetric, rounded to nearest
    (Jacob et al., Quantization and Training of Neural Networks, 2018, section 2, without zero
    points).
    """
    from onnx import TensorProto, helper, numpy_helper

    axes = _output_axes(model.graph)
    for tensor, values in _large(model.graph):
        if tensor.name not in axes:
            continue
        output = axes[tensor.name] % values.ndim
        others = tuple(k for k in range(values.ndim) if k != output)
        scale = np.abs(values).max(axis=others, keepdims=True) / 127
        scale[scale == 0] = 1
        whole = np.rint(values / scale).astype(np.int8)
        name = f"{tensor.name}.int8"
        parts = [
            numpy_helper.from_array(whole, name),
            numpy_helper.from_array(scale, f"{name}.scale"),
        ]
        made = [
            helper.make_node("Cast", [name], [f"{name}.cast"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}.cast", f"{name}.scale"], [tensor.name]),
        ]
        _replace(model.graph, tensor, parts, made)
    store_in_fp16(model)


def _large(graph: Any) -> list[tuple[Any, np.ndarray]]:
    """The large float tensors of a graph, with their values."""
    from onnx import TensorProto, numpy_helper

    floats = [t for t in graph.initializer if t.data_type == TensorProto.FLOAT]
    found = [(tensor, numpy_helper.to_array(tensor)) for tensor in floats]
    return [(tensor, values) for tensor, values in found if values.size >= _FEWEST]


def _output_axes(graph: Any) -> dict[str, int]:
    """The axis of a layer's outputs in each of its weights, by their names."""
    axes: dict[str, int] = {}
    for node in graph.node:
        if node.op_type == "MatMul":
            axes[node.input[1]] = -1
        elif node.op_type in ("Gemm", "Conv"):
            transposed = node.op_type == "Conv" or any(
                a.name == "transB" and a.i for a in node.attribute
            )
            axes[node.input[1]] = 0 if transposed else 1
    return axes


def _replace(graph: Any, tensor: Any, parts: list[Any], nodes: list[Any]) -> None:
    """Make a tensor of others by nodes, which come first as all others may need them."""
    graph.initializer.remove(tensor)
    graph.initializer.extend(parts)
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
