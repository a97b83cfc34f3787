"""Tasks in the forms in which Triton describes models."""

from typing import Any

from arcvit.serve.http.infer_request import INPUT
from arcvit.serve.request import TaskStats, TaskStatus

_PLATFORM = "arcvit"
_NANOSECONDS = 1e9


def model_metadata(status: TaskStatus) -> dict[str, Any]:
    """Names, types and shapes; N is -1. /openapi.json tells of the input's other two forms."""
    return {
        "name": status.name,
        "versions": [str(version) for version in status.versions],
        "platform": _PLATFORM,
        "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": name, "datatype": datatype, "shape": [-1, *shape]}
            for name, datatype, shape in _outputs(status)
        ],
    }


def model_config(status: TaskStatus) -> dict[str, Any]:
    """The configuration, without batches of Triton's: the first axis of each tensor is N."""
    return {
        "name": status.name,
        "platform": _PLATFORM,
        "backend": _PLATFORM,
        "version_policy": {"specific": {"versions": list(status.versions)}},
        "max_batch_size": 0,
        "input": [{"name": INPUT, "data_type": "TYPE_STRING", "dims": [-1]}],
        "output": [
            {"name": name, "data_type": _CONFIG_TYPES[datatype], "dims": [-1, *shape]}
            for name, datatype, shape in _outputs(status)
        ],
        "parameters": {
            "labels": {"string_value": "\n".join(status.labels or ())},
            "kind": {"string_value": status.kind},
        },
    }


def model_stats(status: TaskStatus, done: TaskStats) -> dict[str, Any]:
    """What a task has done since the server started."""

    def spent(seconds: float, count: int = done.requests) -> dict[str, int]:
        return {"count": count, "ns": round(seconds * _NANOSECONDS)}

    return {
        "name": status.name,
        "version": str(status.version),
        "last_inference": 0 if done.last is None else round(done.last * 1000),
        "inference_count": done.images,
        "execution_count": done.batches,
        "inference_stats": {
            "success": spent(done.seconds),
            "fail": spent(0, done.failed),
            "queue": spent(done.queue_seconds),
            "compute_input": spent(done.decode_seconds),
            "compute_infer": spent(done.model_seconds),
            "compute_output": spent(0),
            "cache_hit": spent(0, 0),
        },
        "batch_stats": [],
    }


_CONFIG_TYPES = {"FP32": "TYPE_FP32", "BYTES": "TYPE_STRING", "BOOL": "TYPE_BOOL"}


def _outputs(status: TaskStatus) -> list[tuple[str, str, list[int]]]:
    """Name, type and shape behind N of each output."""
    said = "labels" if status.kind == "multilabel" else "label"
    outputs = [("probabilities", "FP32", [len(status.labels or ())]), (said, "BYTES", [])]
    return outputs + ([("known", "BOOL", [])] if status.calibrated else [])
