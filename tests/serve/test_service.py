"""One batch for many tasks: the same answers as each task alone gives, whatever comes and goes."""

import asyncio
import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import arcvit
from arcvit.backbones.build import build_backbone
from arcvit.data.pixels.augment import ToInput
from arcvit.data.pixels.decode import to_array
from arcvit.serve.refusals import (
    DeadlineExceeded,
    Draining,
    NotAnImage,
    QueueFull,
    Refused,
    UnknownTask,
    UnknownVersion,
    WrongInput,
)
from arcvit.serve.request import Answers, Images
from arcvit.serve.service import Service

from .conftest import MakeAdapter, StartService, run

TASKS = {
    "two": {"labels": 2, "r": 8},
    "many": {"labels": 81, "r": 32, "known": 0.1},
    "plus": {"labels": 7, "variant": "arc_plus", "r": 6, "known": 0.0},
    "linear": {"labels": 5, "method": "linear"},
}
MORE_TASKS = {
    **TASKS,
    "att": {"labels": 3, "variant": "arc_att", "r": 30},
    "own": {"labels": 3, "share": "none", "up_projection": "separate", "r": 3},
    "full": {"labels": 4, "core": "full", "r": 5, "adapter_bias": False},
    "multi": {"labels": 4, "multilabel": True, "known": 0.0},
}


Rows = list[tuple[list[str], list[float], tuple[str, ...], bool | None]]


def alone(folder: Path, files: list[bytes]) -> Rows:
    """Labels and probabilities, the most probable first, labels given, and whether it is known."""
    classifier = arcvit.load(folder, device="cpu")
    pictures = [Image.open(io.BytesIO(file)) for file in files]
    every = classifier.predict(pictures, top=len(classifier.labels))
    return [
        ([r.label for r in p.top], [r.probability for r in p.top], p.labels, p.known) for p in every
    ]


def check(answers: Answers, expected: Rows) -> None:
    for row, (labels, probabilities, given, known) in zip(answers.rows, expected, strict=True):
        assert row.error is None
        assert row.probabilities.dtype == np.float32
        found = dict(zip(row.labels, row.probabilities.tolist(), strict=True))
        assert [found[label] for label in labels] == pytest.approx(probabilities, abs=1e-5)
        assert (row.given, row.known) == (given, known)


@pytest.mark.parametrize("tasks", [TASKS, pytest.param(MORE_TASKS, marks=pytest.mark.slow)])
def test_a_mixed_batch_answers_as_each_task_alone(
    tasks: dict[str, dict[str, Any]],
    make_adapter: MakeAdapter,
    start: StartService,
    photos_as_files: list[bytes],
    eight: Images,
    tmp_path: Path,
) -> None:
    for seed, (name, about) in enumerate(tasks.items()):
        make_adapter(tmp_path / name, seed=seed, **about)
    expected = {name: alone(tmp_path / name, photos_as_files) for name in tasks}
    service = start(tmp_path, max_batch=64, max_wait=0.05)
    for _ in range(2):
        answers = run(service.predict_many(list(tasks), eight))
        assert list(answers) == list(tasks)
        for name in tasks:
            check(answers[name], expected[name])
    # The batches did mix, or this would have shown nothing.
    assert run(service.stats(["two"]))[0].batches < 2 * len(tasks)
    for name in ("two", "plus"):
        check(run(service.predict(name, eight)), expected[name])


def test_a_photo_is_answered_in_every_form_and_in_order(
    make_adapter: MakeAdapter,
    start: StartService,
    photos_as_files: list[bytes],
    eight: Images,
    tmp_path: Path,
) -> None:
    make_adapter(tmp_path / "task")
    service = start(tmp_path, max_batch=3)  # a request is larger than a batch
    expected = np.stack([row.probabilities for row in run(service.predict("task", eight)).rows])
    pictures = [Image.open(io.BytesIO(file)) for file in photos_as_files]
    prep = arcvit.load(tmp_path / "task", device="cpu").preprocessing
    inputs = ToInput.of(prep).eval()(torch.stack([to_array(p, prep) for p in pictures])).numpy()
    for images in (
        Images(pixels=np.stack([np.asarray(picture) for picture in pictures])),
        Images(inputs=inputs),
    ):
        found = np.stack([row.probabilities for row in run(service.predict("task", images)).rows])
        np.testing.assert_allclose(found, expected, atol=1e-5)
    features = run(service.embed(eight))
    plain = build_backbone(str(service.backbone), num_classes=2).model.eval()
    with torch.inference_mode():
        ones = plain.forward_head(plain.forward_features(torch.from_numpy(inputs)), pre_logits=True)
    np.testing.assert_allclose(features, ones.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("images", "refusal", "sentence"),
    [
        (
            Images(files=[b"no image"]),
            NotAnImage,
            "image 0 can't be read: not an image",
        ),
        (Images(files=[b""]), NotAnImage, "image 0 can't be read: empty file"),
        (Images(inputs=np.zeros((1, 3, 16, 16), np.float32)), WrongInput, r"\(3, 32, 32\)"),
        (Images(inputs=np.full((1, 3, 32, 32), np.nan, np.float32)), WrongInput, "NaN"),
        (
            Images(inputs=np.full((1, 3, 32, 32), 3e38, np.float32)),
            NotAnImage,
            "the outputs of the model aren't finite",
        ),
        (Images(pixels=np.zeros((17, 9, 9, 3), np.uint8)), WrongInput, "at most 16"),
        (Images(pixels=np.zeros((1, 200, 200, 3), np.uint8)), NotAnImage, "more than 10,000"),
    ],
)
def test_what_is_no_input(
    shared: Service, images: Images, refusal: type[Refused], sentence: str
) -> None:
    with pytest.raises(refusal, match=sentence):
        run(shared.predict("task", images))


def test_an_image_that_cant_be_read_keeps_its_place(
    shared: Service, photos_as_files: list[bytes]
) -> None:
    images = Images(files=[photos_as_files[0], b"no image", photos_as_files[1]])
    rows = run(shared.predict("task", images, strict=False)).rows
    assert [row.error is None for row in rows] == [True, False, True]
    assert [len(row.probabilities) for row in rows] == [3, 0, 3]
    nothing = run(shared.predict("task", Images(files=[b"", b"x"]), strict=False)).rows
    assert [row.error for row in nothing] == ["empty file", "not an image of a format that is read"]


def test_who_isnt_there_is_told_of_the_nearest(shared: Service, eight: Images) -> None:
    for name in ("taks", "../task", "/etc", "a/b", "", ".hidden", "x" * 5000):
        with pytest.raises(UnknownTask, match="there is no task"):
            run(shared.predict(name, eight))
    with pytest.raises(UnknownTask, match="Did you mean 'task'"):
        run(shared.predict("taks", eight))
    with pytest.raises(UnknownVersion, match="serves no version 2: expected 1"):
        run(shared.predict("task", eight, version=2))


def test_what_nobody_waits_for_costs_nothing(shared: Service, eight: Images) -> None:
    with pytest.raises(DeadlineExceeded):
        run(shared.predict("task", eight, deadline=time.monotonic() - 1))
    (before,) = run(shared.stats(["task"]))

    async def cancelled() -> None:
        asked = [asyncio.create_task(shared.predict("task", eight)) for _ in range(2)]
        with pytest.raises(QueueFull, match="as many as may") as full:
            await asyncio.gather(*[shared.predict("task", eight) for _ in range(1)], *asked)
        assert full.value.retry_after > 0
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        await shared.predict("task", eight)  # there is room again

    run(cancelled())
    assert run(shared.stats(["task"]))[0].requests <= before.requests + 3


def test_draining_finishes_what_is_there(
    make_adapter: MakeAdapter, start: StartService, eight: Images, tmp_path: Path
) -> None:
    make_adapter(tmp_path / "task")
    service = start(tmp_path)

    async def drained() -> None:
        asked = [asyncio.create_task(service.predict("task", eight)) for _ in range(4)]
        await asyncio.sleep(0)
        assert await service.drain(30) == 0
        assert service.state == "draining"
        assert all(len(answers.rows) == 8 for answers in await asyncio.gather(*asked))
        with pytest.raises(Draining):
            await service.predict("task", eight)

    run(drained())
