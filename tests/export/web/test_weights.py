"""Weights in few bits come back as near as their precision allows, whichever way they lie."""

from typing import Any

import numpy as np
import pytest

from arcvit.export.web.weights import store_in_fp16, store_in_int8

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
helper, FLOAT = pytest.importorskip("onnx.helper"), onnx.TensorProto.FLOAT
from_array = pytest.importorskip("onnx.numpy_helper").from_array


SIZES = np.geomspace(1e-2, 1e2, 64)
"""Of the weights of each output: one scale for all would lose the small ones."""


def layers(weights: dict[str, np.ndarray]) -> Any:
    """One layer whose weight has its outputs last, one that has them first, and a sum."""
    nodes = [
        helper.make_node("MatMul", ["x", "last"], ["y_last"]),
        helper.make_node("Gemm", ["x", "first"], ["y_first"], transB=1),
        helper.make_node("Add", ["y_first", "large"], ["y_large"]),
    ]
    outputs = [
        helper.make_tensor_value_info(name, FLOAT, [None, 64])
        for name in ("y_last", "y_first", "y_large")
    ]
    x = helper.make_tensor_value_info("x", FLOAT, [1, 32])
    stored = [from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "layers", [x], outputs, stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.mark.parametrize(
    ("store", "size", "most"), [(store_in_fp16, 2, 1e-3), (store_in_int8, 1, 2e-2)]
)
def test_weights_are_stored_small(store: Any, size: int, most: float) -> None:
    draws = np.random.default_rng(0)
    weight = draws.normal(size=(64, 32)).astype(np.float32) * SIZES[:, None].astype(np.float32)
    # Half precision ends at 65,504: what is beyond stays as it is.
    large = np.full((32, 64), 1e5, np.float32)
    x = draws.normal(size=(1, 32)).astype(np.float32)
    model = layers({"last": weight.T.copy(), "first": weight, "large": large})
    store(model)
    onnx.checker.check_model(model)
    stored = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    assert stored == 2 * size * weight.size + (2 * 4 * 64 if size == 1 else 0) + large.nbytes
    session = onnxruntime.InferenceSession(model.SerializeToString())
    last, first, sum_ = session.run(None, {"x": x})
    for y in (last, first):
        assert (np.abs(y - x @ weight.T) / SIZES / np.linalg.norm(x)).max() < most
    assert np.allclose(sum_, first + large)
