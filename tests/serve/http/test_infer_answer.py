"""Answers of the Open Inference Protocol as clients get them."""

import json

import numpy as np
import pytest

pytest.importorskip("starlette")

from arcvit.serve.http.door import json_answer
from arcvit.serve.http.http_error import HttpError
from arcvit.serve.http.infer_answer import write_answer
from arcvit.serve.http.infer_request import Asked, Output
from arcvit.serve.request import Answer, Answers

from .conftest import steps_beside

LABELS = ("süß", "apfel")
PROBABILITIES = np.array([[0.25, 0.75], [1, 0]], "<f4")
ANSWERS = Answers(
    task="fruit",
    version=3,
    kind="single",
    rows=tuple(
        Answer(probabilities=row, labels=LABELS, given=(said,))
        for row, said in zip(PROBABILITIES, ("apfel", "süß"), strict=True)
    ),
)


def test_answers_in_json() -> None:
    body, headers = write_answer(ANSWERS, Asked([], id="mine"))
    answer = json.loads(body)
    assert headers == {"content-type": "application/json"}
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("fruit", "3", "mine")
    assert answer["outputs"] == [
        {
            "name": "probabilities",
            "datatype": "FP32",
            "shape": [2, 2],
            "data": [0.25, 0.75, 1, 0],
        },
        {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["apfel", "süß"]},
    ]


def test_answers_as_bytes_follow_the_json_in_the_order_asked_for() -> None:
    outputs = (
        Output("label", True),
        Output("probabilities", True),
        Output("probabilities", best=9),
    )
    body, headers = write_answer(ANSWERS, Asked([], outputs))
    length = int(headers["Inference-Header-Content-Length"])
    first, second, third = json.loads(body[:length])["outputs"]
    assert first["parameters"] == {"binary_data_size": 4 + 5 + 4 + 5}
    assert "data" not in first
    assert body[length:] == b"\5\0\0\0apfel\5\0\0\0s\xc3\xbc\xc3\x9f" + PROBABILITIES.tobytes()
    assert second["parameters"] == {"binary_data_size": 16}
    assert third["shape"] == [2, 2]
    assert third["data"][:2] == ["0.750000:1:apfel", "0.250000:0:süß"]


def test_an_output_that_a_task_has_not() -> None:
    with pytest.raises(HttpError, match="'fruit' has no output 'known'"):
        write_answer(ANSWERS, Asked([], (Output("known"),)))


def test_writing_large_answers_lets_other_threads_go_on() -> None:
    labels = tuple(f"label {k}" for k in range(1000))
    draws = np.random.default_rng(0).random((64, 1000), np.float32)
    rows = tuple(Answer(probabilities=row, labels=labels, given=labels[:1]) for row in draws)
    answers = Answers(task="fruit", version=1, kind="single", rows=rows)
    features = {"features": [row.tolist for row in draws]}
    for write in (lambda: write_answer(answers, Asked([])), lambda: json_answer(features)):
        assert steps_beside(write) > 10  # json.dumps alone holds the interpreter to its end
