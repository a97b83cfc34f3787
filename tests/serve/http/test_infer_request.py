"""Requests of the Open Inference Protocol as clients send them, and as they shouldn't."""

import base64
import json
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette")

from arcvit.serve.http.apart import LARGE
from arcvit.serve.http.http_error import HttpError
from arcvit.serve.http.infer_request import Asked, Output, read_request
from arcvit.serve.http.json_body import json_object

from .conftest import steps_beside

PIXELS = np.arange(2 * 2 * 3 * 3, dtype=np.uint8).reshape(2, 2, 3, 3)
FLOATS = np.linspace(-1, 1, 1 * 3 * 2 * 2, dtype=np.float32).reshape(1, 3, 2, 2)


def request(shape: Any, datatype: str, binary: bytes | None = None, **more: Any) -> bytes:
    image = {"name": "image", "shape": shape, "datatype": datatype}
    if binary is not None:
        image["parameters"] = {"binary_data_size": len(binary)}
    image.update(more.pop("image", {}))
    return json.dumps({"inputs": [image], **more}).encode() + (binary or b"")


def read(body: bytes, binary: bytes = b"", most: int = 4) -> Asked:
    header = str(len(body) - len(binary)) if binary else None
    return read_request(body, header, max_images=most)


def elements(*files: bytes) -> bytes:
    return b"".join(len(file).to_bytes(4, "little") + file for file in files)


def test_the_three_forms_in_json_and_as_bytes() -> None:
    files = [b"one", b""]
    for binary in (None, elements(*files)):
        data = {} if binary else {"image": {"data": [base64.b64encode(f).decode() for f in files]}}
        assert read(request([2], "BYTES", binary, **data), binary or b"").images == files
    for array, name in ((PIXELS, "UINT8"), (FLOATS, "FP32")):
        shape = list(array.shape)
        whole = array.tobytes()
        for asked in (
            read(request(shape, name, whole), whole),
            read(request(shape, name, image={"data": array.tolist()})),
            read(request(shape, name, image={"data": array.ravel().tolist()})),
        ):
            np.testing.assert_array_equal(asked.images, array)
            assert asked.images.dtype == array.dtype
    assert read_request(b"a photo", "0", max_images=1).images == [b"a photo"]


def test_large_json_is_read_as_small_json_is() -> None:
    array = (np.arange(2 * 3 * 120 * 120, dtype=np.float32) % 99 / 2).reshape(2, 3, 120, 120)
    shape, nested = list(array.shape), array.tolist()
    for data in (nested, array.ravel().tolist()):
        body = request(shape, "FP32", image={"data": data})
        assert len(body) > LARGE
        np.testing.assert_array_equal(read(body).images, array)
    for wrong in ([nested[0], nested[1][:2]], [nested[0], 0.5]):
        with pytest.raises(HttpError, match="isn't FP32"):
            read(request(shape, "FP32", image={"data": wrong}))


def test_reading_large_json_lets_other_threads_go_on() -> None:
    body = b'{"a": [' + b",".join([b"0.5, 7"] * 100_000) + b"]}"
    steps = steps_beside(lambda: json_object(body, "the request"))
    assert steps > 10  # json.loads alone holds the interpreter from its first byte to its last


def test_what_is_asked_beside_the_images() -> None:
    asked = read(
        request(
            [1],
            "BYTES",
            elements(b"a"),
            id="mine",
            parameters={"timeout": 500_000, "binary_data_output": True, "priority": 1},
            outputs=[
                {"name": "label", "parameters": {"binary_data": False}},
                {"name": "probabilities", "parameters": {"classification": 2}},
            ],
        ),
        elements(b"a"),
    )
    assert (asked.id, asked.timeout, asked.binary) == ("mine", 0.5, True)
    for_ever = request([1], "BYTES", elements(b"a"), parameters={"timeout": 10**400})
    assert read(for_ever, elements(b"a")).timeout == 1e9
    assert asked.outputs == (Output("label"), Output("probabilities", True, 2))


JSON = {"data": [0] * 12}
WRONG = {
    "not JSON": (b"{", "isn't JSON"),
    "not UTF-8": (b'{"id": "\xff"}', "isn't JSON"),
    "NaN": (b'{"inputs": [NaN]}', "NaN is no number"),
    "deep": (b'{"a":' + b"[" * 200_000, "nested too deeply"),
    "many digits": (b'{"a": ' + b"9" * 5000 + b"}", "isn't JSON"),
    "an array": (b"[]", "an array: expected an object"),
    "no input": (b"{}", "0 inputs: expected one, 'image'"),
    "nothing": (b"", "0 inputs: expected one, 'image'"),
    "two inputs": (b'{"inputs": [{}, {}]}', "2 inputs"),
    "inputs of another kind": (b'{"inputs": 3}', "'inputs', which is a whole number"),
    "another input": (request([1], "BYTES", image={"name": "photo"}), "called 'photo'"),
    "no shape": (request(None, "BYTES"), "the shape of input 'image' is None"),
    "a shape of truths": (request([True], "BYTES"), "the shape of input 'image' is [True]"),
    "another type": (request([1, 2, 2, 3], "FP64"), "is FP64 [1, 2, 2, 3]: expected BYTES [N]"),
    "axes": (request([2, 2, 3], "UINT8"), "is UINT8 [2, 2, 3]"),
    "channels first": (request([1, 3, 2, 2], "UINT8", image=JSON), "is UINT8 [1, 3, 2, 2]"),
    "channels last": (request([1, 2, 2, 3], "FP32", image=JSON), "is FP32 [1, 2, 2, 3]"),
    "none": (request([0], "BYTES", image={"data": []}), "has 0 images: expected 1 to 4"),
    "negative inside": (request([1, -2, -2, 3], "UINT8", image=JSON), "there are no pixels"),
    "more than there could be": (request([1, 10**30, 2, 3], "UINT8", image=JSON), "isn't UINT8"),
    "negative": (request([-1], "BYTES", image={"data": []}), "has -1 images"),
    "no pixels": (request([1, 0, 2, 3], "UINT8", image={"data": []}), "there are no pixels"),
    "no data": (request([1], "BYTES"), "'data', which is null: expected an array"),
    "not base64": (request([1], "BYTES", image={"data": ["a photo"]}), "isn't base64"),
    "other letters": (request([1], "BYTES", image={"data": ["ünïcöde"]}), "isn't base64"),
    "fewer": (request([2], "BYTES", image={"data": ["YQ=="]}), "expected so many base64"),
    "ragged": (request([1, 2, 2, 3], "UINT8", image={"data": [[1, 2], [3]]}), "isn't UINT8"),
    "texts": (request([1, 2, 2, 3], "UINT8", image={"data": ["a"] * 12}), "isn't UINT8"),
    "turned": (
        request([1, 3, 2, 2], "FP32", image={"data": FLOATS.reshape(1, 2, 2, 3).tolist()}),
        "isn't FP32 [1, 3, 2, 2]",
    ),
    "half flat": (
        request([1, 3, 2, 2], "FP32", image={"data": FLOATS.reshape(1, 12).tolist()}),
        "isn't FP32 [1, 3, 2, 2]",
    ),
    "bright": (request([1, 2, 2, 3], "UINT8", image={"data": [256] * 12}), "UINT8 can't hold"),
    "huge": (request([1, 3, 2, 2], "FP32", image={"data": [1e300] * 12}), "no finite"),
    "shared memory": (
        request([1], "BYTES", image={"parameters": {"shared_memory_region": "a"}}),
        "shared memory isn't supported",
    ),
    "both": (
        request([1], "BYTES", image={"data": [], "parameters": {"binary_data_size": 0}}),
        "both 'data' and",
    ),
    "a timeout": (
        request([1], "BYTES", image={"data": ["YQ=="]}, parameters={"timeout": -1}),
        "-1",
    ),
    "a sequence": (
        request([1], "BYTES", image={"data": ["YQ=="]}, parameters={"sequence_id": 7}),
        "'sequence_id': there are no sequences",
    ),
    "an output": (
        request([1], "BYTES", image={"data": ["YQ=="]}, outputs=[{"name": "lable"}]),
        "Did you mean 'label' or 'labels'?",
    ),
    "an output twice": (
        request(
            [1], "BYTES", image={"data": ["YQ=="]}, outputs=[{"name": "label"}, {"name": "label"}]
        ),
        "an output twice",
    ),
    "fewer classes than none": (
        request(
            [1],
            "BYTES",
            image={"data": ["YQ=="]},
            outputs=[{"name": "probabilities", "parameters": {"classification": -1}}],
        ),
        "classification -1",
    ),
    "classes of labels": (
        request(
            [1],
            "BYTES",
            image={"data": ["YQ=="]},
            outputs=[{"name": "label", "parameters": {"classification": 1}}],
        ),
        "only 'probabilities'",
    ),
}


@pytest.mark.parametrize(("body", "said"), WRONG.values(), ids=WRONG)
def test_what_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(HttpError) as caught:
        read(body)
    assert said in caught.value.sentence
    assert caught.value.status == 400


def test_too_many_images_are_too_large() -> None:
    with pytest.raises(HttpError, match="has 5 images: expected 1 to 4") as caught:
        read(request([5], "BYTES", image={"data": []}))
    assert caught.value.status == 413


NAN = np.full((1, 3, 1, 1), np.nan, np.float32).tobytes()


@pytest.mark.parametrize(
    ("shape", "datatype", "binary", "said"),
    [
        ([2], "BYTES", elements(b"one"), "holds 1 images"),
        ([1], "BYTES", elements(b"one", b"two"), "holds more images"),
        ([1], "BYTES", b"\xff\xff\xff\xffabc", "ends within image 0"),
        ([2], "BYTES", elements(b"one") + b"\x01", "ends within image 1"),
        ([1, 2, 2, 3], "UINT8", b"12345", "has 5 bytes: UINT8 [1, 2, 2, 3] has 12"),
        ([1, 2**40, 2**40, 3], "UINT8", b"12345", "has 5 bytes"),
        ([1, 3, 1, 1], "FP32", NAN, "no finite numbers"),
    ],
)
def test_bytes_that_are_refused(shape: list[int], datatype: str, binary: bytes, said: str) -> None:
    with pytest.raises(HttpError) as caught:
        read(request(shape, datatype, binary), binary)
    assert said in caught.value.sentence


@pytest.mark.parametrize("header", ["-1", "99", "1.0", "", "٣", "9" * 30])
def test_lengths_of_the_header_that_are_refused(header: str) -> None:
    with pytest.raises(HttpError, match="Inference-Header-Content-Length"):
        read_request(b"{}", header, max_images=1)


def test_bytes_behind_the_json_belong_to_an_input() -> None:
    with pytest.raises(HttpError, match="3 bytes follow the JSON"):
        read(request([1], "BYTES", image={"data": ["YQ=="]}) + b"abc", b"abc")
    short = request([1], "BYTES", elements(b"photo"))[:-1]
    with pytest.raises(HttpError, match="has 9 bytes, but 8 follow"):
        read(short, b"12345678")
