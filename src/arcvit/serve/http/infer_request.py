"""Requests of the Open Inference Protocol, version 2, with its binary extension.

Shapes: N images, H x W pixels as they were taken, h x w of the backbone's input.
Sources: the REST API of the Open Inference Protocol, and Triton's extensions for binary tensor data
and for classification.
"""

import base64
import binascii
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from arcvit.core.errors import nearest
from arcvit.serve.http.http_error import HttpError
from arcvit.serve.http.json_body import field, json_object, kind

INPUT = "image"
OUTPUTS = ("probabilities", "label", "labels", "known")
HEADER_LENGTH = "Inference-Header-Content-Length"
_NEEDS = (
    "expected BYTES [N] of image files, UINT8 [N, height, width, 3] of pixels or FP32"
    " [N, 3, height, width] that is preprocessed already"
)
LENGTH = 4
"""Bytes before each element of BYTES, which say how many it has."""
_PIECE = 2**16
_MICROSECONDS = 1e6
_SEQUENCE = ("sequence_id", "sequence_start", "sequence_end")
_LONG = 10**15


@dataclass(frozen=True)
class Output:
    """An output that is asked for.

    Attributes:
        name: one of ``OUTPUTS``.
        binary: whether it follows the JSON as bytes.
        best: so many labels as ``value:index:label``; 0: the values themselves.
    """

    name: str
    binary: bool = False
    best: int = 0


@dataclass(frozen=True)
class Asked:
    """A request.

    Attributes:
        images: files, ``uint8`` (N, H, W, 3), or ``float32`` (N, 3, h, w) preprocessed already.
        outputs: those that are asked for; None: all there are.
        binary: whether outputs that don't say follow the JSON as bytes.
        id: what the client calls the request.
        timeout: seconds in which it wants an answer; None: it doesn't say.
    """

    images: list[bytes] | np.ndarray
    outputs: tuple[Output, ...] | None = None
    binary: bool = False
    id: str | None = None
    timeout: float | None = None


def read_request(body: bytes, header_length: str | None, *, max_images: int) -> Asked:
    """What a client asks for.

    Args:
        body: JSON, and the binary data of its inputs behind it; where the header says that JSON is
            empty, one image file.
        header_length: the header that says how long the JSON is; None: it is all.
        max_images: as many images may there be.

    Raises:
        HttpError: it isn't as the protocol has it.
    """
    length = _header_length(header_length, len(body))
    if length == 0 and header_length is not None:
        return Asked([body])
    asked = json_object(body[:length], "the request")
    binary = memoryview(body)[length:]
    inputs = field(asked, "inputs", list, "the request", [])
    if len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise HttpError(400, f"the request has {len(inputs)} inputs: expected one, {INPUT!r}.")
    images = _images(inputs[0], binary, max_images)
    parameters = field(asked, "parameters", dict, "the request", {})
    binary_output = field(parameters, "binary_data_output", bool, "'parameters'", False)
    for name in _SEQUENCE:
        if parameters.get(name) not in (None, 0, "", False):
            raise HttpError(400, f"'parameters' has {name!r}: there are no sequences here.")
    timeout = field(parameters, "timeout", int, "'parameters'")
    if timeout is not None and timeout < 0:
        raise HttpError(400, f"the timeout is {timeout}: expected microseconds, 0 or more.")
    wanted = [
        _output(each, binary_output) for each in field(asked, "outputs", list, "the request", [])
    ]
    # Each costs its bytes again: a small request would be answered by gigabytes.
    if len({(output.name, output.best > 0) for output in wanted}) < len(wanted):
        raise HttpError(400, "the request asks for an output twice: expected each once.")
    request_id = field(asked, "id", str, "the request")
    return Asked(
        images,
        tuple(wanted) or None,
        binary_output,
        # A lone half of a surrogate pair is JSON, but no text that could be sent back.
        None if request_id is None else request_id.encode(errors="replace").decode(),
        min(timeout, _LONG) / _MICROSECONDS if timeout else None,
    )


def _header_length(header: str | None, most: int) -> int:
    if header is None:
        return most
    # As HTTP has it: digits, and neither signs nor the digits of other scripts.
    if not (header.isascii() and header.isdigit()) or len(header) > 18 or int(header) > most:
        raise HttpError(
            400, f"{HEADER_LENGTH} is {header!r}: expected the length of the JSON, at most {most}."
        )
    return int(header)


def _images(given: dict[str, Any], binary: memoryview, max_images: int) -> list[bytes] | np.ndarray:
    name = given.get("name")
    if name != INPUT:
        raise HttpError(400, f"the input is called {name!r:.100}: expected {INPUT!r}.")
    parameters = field(given, "parameters", dict, f"input {INPUT!r}", {})
    if "shared_memory_region" in parameters:
        raise HttpError(400, "shared memory isn't supported: send the data in the request.")
    datatype, shape = given.get("datatype"), _shape(given.get("shape"))
    axes = {"BYTES": 1, "UINT8": 4, "FP32": 4}.get(str(datatype))
    channels = {"UINT8": -1, "FP32": 1}.get(str(datatype))
    if axes != len(shape) or (channels is not None and shape[channels] != 3):
        raise HttpError(400, f"input {INPUT!r} is {datatype!s:.20} {list(shape)!s:.100}: {_NEEDS}.")
    if not 1 <= shape[0] <= max_images:
        raise HttpError(
            400 if shape[0] < 1 else 413,
            f"input {INPUT!r} has {shape[0]} images: expected 1 to {max_images} in a request.",
        )
    if min(shape) < 1:
        raise HttpError(400, f"input {INPUT!r} has the shape {list(shape)}: there are no pixels.")
    size = field(parameters, "binary_data_size", int, f"input {INPUT!r}")
    if size is None:
        if len(binary):
            raise HttpError(
                400, f"{len(binary)} bytes follow the JSON, but no input has 'binary_data_size'."
            )
        return _from_json(given.get("data"), str(datatype), shape)
    if "data" in given:
        raise HttpError(400, f"input {INPUT!r} has both 'data' and 'binary_data_size'.")
    if size != len(binary):
        raise HttpError(
            400, f"input {INPUT!r} has {size} bytes, but {len(binary)} follow the JSON."
        )
    return _from_binary(binary, str(datatype), shape)


def _shape(given: object) -> tuple[int, ...]:
    if not isinstance(given, list) or not all(type(edge) is int for edge in given) or not given:
        raise HttpError(400, f"the shape of input {INPUT!r} is {given!r:.100}: {_NEEDS}.")
    return tuple(given)


def _from_binary(
    binary: memoryview, datatype: str, shape: tuple[int, ...]
) -> list[bytes] | np.ndarray:
    if datatype == "BYTES":
        return _elements(binary, shape[0])
    dtype = np.dtype("<f4" if datatype == "FP32" else "u1")
    expected = math.prod(shape) * dtype.itemsize
    if len(binary) != expected:
        raise HttpError(
            400,
            f"input {INPUT!r} has {len(binary)} bytes: {datatype} {list(shape)} has {expected}.",
        )
    # A copy, as torch takes no array that can't be written to.
    return _finite(np.frombuffer(bytearray(binary), dtype).reshape(shape))


def _elements(binary: memoryview, count: int) -> list[bytes]:
    """The elements of a BYTES tensor: each behind its length."""
    found: list[bytes] = []
    at = 0
    while at < len(binary):
        end = at + LENGTH + int.from_bytes(binary[at : at + LENGTH], "little")
        if at + LENGTH > len(binary) or end > len(binary):
            raise HttpError(
                400,
                f"input {INPUT!r} ends within image {len(found)}: each needs its length as 4 bytes,"
                " little-endian, before it.",
            )
        found.append(bytes(binary[at + LENGTH : end]))
        at = end
        if len(found) > count:
            break
    if len(found) != count:
        more = "more" if len(found) > count else str(len(found))
        raise HttpError(400, f"input {INPUT!r} has the shape [{count}], but holds {more} images.")
    return found


def _from_json(data: object, datatype: str, shape: tuple[int, ...]) -> list[bytes] | np.ndarray:
    if not isinstance(data, list):
        raise HttpError(
            400, f"input {INPUT!r} has 'data', which is {kind(data)}: expected an array."
        )
    if datatype == "BYTES":
        if len(data) != shape[0] or not all(isinstance(each, str) for each in data):
            raise HttpError(
                400,
                f"input {INPUT!r} has the shape {list(shape)}: expected so many base64 strings.",
            )
        try:
            return [base64.b64decode(each, validate=True) for each in data]
        except (binascii.Error, ValueError) as error:
            raise HttpError(400, f"input {INPUT!r} isn't base64: {error}.") from error
    try:
        values = _array(data, shape)
    except ValueError:  # rows of several lengths, or too deep
        values = np.empty(0, object)
    kinds = "iuf" if datatype == "FP32" else "iu"
    # Of another shape its values would stand in other places than they were meant for.
    if values.dtype.kind not in kinds or values.shape not in (shape, (math.prod(shape),)):
        raise HttpError(400, f"input {INPUT!r} has 'data' that isn't {datatype} {list(shape)}.")
    if datatype == "UINT8" and not (values.min() >= 0 and values.max() <= 255):
        raise HttpError(
            400, f"input {INPUT!r} has values that UINT8 can't hold: expected 0 to 255."
        )
    with np.errstate(over="ignore"):
        typed = values.astype(np.float32 if datatype == "FP32" else np.uint8)
    return _finite(typed.reshape(shape))


def _array(data: list[Any], shape: tuple[int, ...]) -> np.ndarray:
    """As ``np.array``, in pieces, between which other threads may go on."""
    if len(data) == shape[0] and len(shape) > 1 and math.prod(shape) > _PIECE:
        if not all(isinstance(part, list) for part in data):
            raise ValueError
        return np.stack([_array(part, shape[1:]) for part in data])
    pieces = [np.array(data[at : at + _PIECE]) for at in range(0, len(data), _PIECE)]
    return np.concatenate(pieces) if pieces else np.empty(0)


def _finite(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise HttpError(400, f"input {INPUT!r} has values that are no finite numbers.")
    return values


def _output(given: object, binary: bool) -> Output:
    name = given.get("name") if isinstance(given, dict) else None
    if not isinstance(given, dict) or name not in OUTPUTS:
        hint = nearest(name, OUTPUTS) if isinstance(name, str) else ""
        raise HttpError(
            400, f"there is no output {name!r:.100}: expected {', '.join(OUTPUTS)}.{hint}"
        )
    parameters = field(given, "parameters", dict, f"output {name!r}", {})
    if "shared_memory_region" in parameters:
        raise HttpError(400, "shared memory isn't supported: take the data from the answer.")
    best = field(parameters, "classification", int, f"output {name!r}", 0)
    if best < 0 or (best and name != OUTPUTS[0]):
        raise HttpError(
            400, f"output {name!r} has classification {best}: only {OUTPUTS[0]!r} has, 1 or more."
        )
    own = field(parameters, "binary_data", bool, f"output {name!r}", binary)
    return Output(name, own, best)
