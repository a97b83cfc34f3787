"""What the server is asked and what it answers, whatever protocol it came in by.

N images, K labels of a task, (h, w) the backbone's input in pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

from arcvit.core.errors import UserError
from arcvit.core.task import Kind

State = Literal["registered", "ready", "broken", "unloaded"]
"""Of a task: known and not read yet, in memory, refused with a reason, or taken off by command."""


@dataclass(frozen=True, kw_only=True)
class Images:
    """The images of one request, in one of three forms.

    Attributes:
        files: image files as they are; the task's own preprocessing follows.
        pixels: ``uint8`` (N, H, W, 3); the task's own preprocessing follows.
        inputs: ``float32`` (N, 3, h, w), already preprocessed.

    Raises:
        UserError: none or several are given, there is no image, or an array has another shape.
    """

    files: Sequence[bytes] | None = None
    pixels: np.ndarray | None = None
    inputs: np.ndarray | None = None

    def __post_init__(self) -> None:
        given = [form for form in (self.files, self.pixels, self.inputs) if form is not None]
        if len(given) != 1 or len(given[0]) == 0:
            raise UserError("a request has no images: expected at least one.")
        if self.pixels is not None:
            _check("pixels", self.pixels, np.uint8, "(N, H, W, 3)", self.pixels.shape[3:] == (3,))
        if self.inputs is not None:
            right = self.inputs.ndim == 4 and self.inputs.shape[1] == 3
            _check("inputs", self.inputs, np.float32, "(N, 3, h, w)", right)

    def __len__(self) -> int:
        form = next(f for f in (self.files, self.pixels, self.inputs) if f is not None)
        return len(form)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is said of one image.

    Attributes:
        probabilities: of each label, ``float32`` (K,); empty where the image can't be read.
        labels: of the task.
        given: those that the image is given, the most probable first: one, or where it can have
            any number of them those that reach their thresholds.
        known: whether the image is like those that were learned; None where that can't be told.
        error: why the image can't be read; None where it can.
    """

    probabilities: np.ndarray
    labels: tuple[str, ...]
    given: tuple[str, ...] = ()
    known: bool | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a task says of the images of a request.

    Attributes:
        task: its name.
        version: the version that answered.
        kind: an image has one of the labels (single) or any number of them (multilabel).
        rows: one answer an image, in their order.
    """

    task: str
    version: int
    kind: Kind
    rows: tuple[Answer, ...]


@dataclass(frozen=True, kw_only=True)
class TaskStatus:
    """How a task stands.

    Attributes:
        name: by which it is asked for.
        version: the version that answers where none is named; None where none does.
        versions: those that may be asked for.
        labels: None until the task has been read.
        state: see ``State``.
        reason: why it is broken or unloaded; else empty.
        resident: whether it is on the device now.
        pinned: whether it stays there.
        folded: whether it is served by a folded model of its own.
        calibrated: whether it tells what is unknown; None until the task has been read.
        kind: an image has one of the labels (single) or any number of them (multilabel); None until
            the task has been read.
    """

    name: str
    version: int | None
    versions: tuple[int, ...]
    labels: tuple[str, ...] | None
    state: State
    reason: str = ""
    resident: bool = False
    pinned: bool = False
    folded: bool = False
    calibrated: bool | None = None
    kind: Kind | None = None


@dataclass(frozen=True, kw_only=True)
class TaskStats:
    """What a task has done since the server started; seconds are sums over requests.

    Attributes:
        requests: answered.
        images: answered.
        failed: requests that were not.
        batches: passes of the model that held images of it.
        seconds: from when a request came until its answer.
        decode_seconds: of those, for decoding and resizing.
        queue_seconds: for waiting.
        model_seconds: in the model, of all passes that a request was in.
        last: when the last answer was given, in seconds since the epoch; None: never.
    """

    requests: int = 0
    images: int = 0
    failed: int = 0
    batches: int = 0
    seconds: float = 0.0
    decode_seconds: float = 0.0
    queue_seconds: float = 0.0
    model_seconds: float = 0.0
    last: float | None = None

    def __add__(self, other: "TaskStats") -> "TaskStats":
        sums = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)[:-1]}
        return TaskStats(**sums, last=max(self.last or 0, other.last or 0) or None)


def _check(name: str, array: np.ndarray, dtype: type, shape: str, right: bool) -> None:
    if not right or array.dtype != dtype or array.size == 0:
        raise UserError(
            f"{name} is {array.dtype} of shape {array.shape}: expected {np.dtype(dtype)} {shape}."
        )
