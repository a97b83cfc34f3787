"""Answers of the Open Inference Protocol, version 2, with its binary extension.

Shapes: N images, K labels. Sources: see ``infer_request``.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from arcvit.serve.http.http_error import HttpError
from arcvit.serve.http.infer_request import HEADER_LENGTH, LENGTH, Asked, Output
from arcvit.serve.request import Answers

_PIECE = 2**10
"""Values that are written between two moments in which other threads may go on."""


@dataclass(frozen=True)
class _Tensor:
    """A tensor of an answer; its values are ``str`` for BYTES."""

    name: str
    datatype: str
    values: np.ndarray


def write_answer(answers: Answers, asked: Asked) -> tuple[bytes, dict[str, str]]:
    """The body of an answer and its headers.

    Args:
        answers: what the task says; none is that an image can't be read.
        asked: the request.

    Raises:
        HttpError: an output is asked for that there isn't.
    """
    there = {tensor.name: tensor for tensor in _tensors(answers)}
    wanted = asked.outputs
    if wanted is None:
        wanted = tuple(Output(name, asked.binary) for name in there)
    described: list[str] = []
    blobs: list[bytes] = []
    for output in wanted:
        tensor = there.get(output.name)
        if tensor is None:
            raise HttpError(
                400, f"{answers.task!r} has no output {output.name!r}: it has {', '.join(there)}."
            )
        if output.best:
            tensor = _classified(tensor, answers.rows[0].labels, output.best)
        shown: dict[str, Any] = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.values.shape),
        }
        if output.binary:
            blobs.append(_to_bytes(tensor))
            shown["parameters"] = {"binary_data_size": len(blobs[-1])}
            described.append(json.dumps(shown))
        else:
            described.append(_with(shown, "data", _in_pieces(tensor.values.ravel())))
    answer = {"model_name": answers.task, "model_version": str(answers.version)}
    if asked.id is not None:
        answer["id"] = asked.id
    head = _with(answer, "outputs", described).encode()
    if not blobs:
        return head, {"content-type": "application/json"}
    headers = {"content-type": "application/octet-stream", HEADER_LENGTH: str(len(head))}
    return b"".join([head, *blobs]), headers


def _with(of: dict[str, Any], name: str, items: Iterable[str]) -> str:
    """JSON of an object that is not empty, with an array of what is in JSON already."""
    return f'{json.dumps(of)[:-1]}, "{name}": [{", ".join(items)}]}}'


def _in_pieces(values: np.ndarray) -> Iterator[str]:
    """Values of an array in JSON; between two pieces other threads may go on."""
    for at in range(0, values.size, _PIECE):
        yield json.dumps(values[at : at + _PIECE].tolist())[1:-1]


def _tensors(answers: Answers) -> list[_Tensor]:
    """The outputs there are, of N images and K labels.

    A task of several labels has no ``label``: whoever took it for all that is said would miss the
    others, or be told of one where there is none. Its ``labels`` are an array of JSON an image, as
    tensors have rows of one length.
    """
    probabilities = np.stack([row.probabilities for row in answers.rows]).astype("<f4")
    if answers.kind == "multilabel":
        name, texts = "labels", [json.dumps(row.given, ensure_ascii=False) for row in answers.rows]
    else:
        name, texts = "label", [row.given[0] for row in answers.rows]
    tensors = [
        _Tensor("probabilities", "FP32", probabilities),
        _Tensor(name, "BYTES", np.array(texts, dtype=object)),
    ]
    known = [row.known for row in answers.rows]
    if None not in known:
        tensors.append(_Tensor("known", "BOOL", np.array(known, dtype=bool)))
    return tensors


def _classified(tensor: _Tensor, labels: Sequence[str], best: int) -> _Tensor:
    """The best labels of each image as Triton writes them, BYTES (N, best)."""
    order = np.argsort(-tensor.values, axis=1, kind="stable")[:, :best]
    rows = [
        [f"{row[index]:f}:{index}:{labels[index]}" for index in indices]
        for row, indices in zip(tensor.values, order, strict=True)
    ]
    return _Tensor(tensor.name, "BYTES", np.array(rows, dtype=object))


def _to_bytes(tensor: _Tensor) -> bytes:
    if tensor.datatype != "BYTES":
        return np.ascontiguousarray(tensor.values).tobytes()
    texts = [str(text).encode(errors="surrogateescape") for text in tensor.values.ravel()]
    return b"".join(len(text).to_bytes(LENGTH, "little") + text for text in texts)
