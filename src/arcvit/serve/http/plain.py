"""The plain protocol: photos in, predictions out."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from arcvit.recipe.prediction import Prediction, Ranked
from arcvit.serve.http.asked import deadline, number_in, with_body
from arcvit.serve.http.context import context_of
from arcvit.serve.http.door import json_answer
from arcvit.serve.http.http_error import HttpError
from arcvit.serve.http.uploads import Photo, photos_of
from arcvit.serve.refusals import NotAnImage
from arcvit.serve.request import Answer, Answers, Images, TaskStatus

_TOP = 5


async def tasks(request: Request) -> Response:
    """How all tasks stand."""
    return json_answer(
        {"tasks": [_shown(status) for status in await context_of(request).service.tasks()]}
    )


@with_body
async def predict(request: Request, body: bytes) -> Response:
    """What one task says of photos."""
    context = context_of(request)
    top = number_in(request, "top", int, _TOP)
    version = number_in(request, "version", int)
    until = deadline(context.limits, number_in(request, "timeout", float))
    photos = await photos_of(request, body, context.limits)
    with _named(photos):
        answers = await context.service.predict(
            request.path_params["task"],
            Images(files=[photo.data for photo in photos]),
            version=version,
            deadline=until,
            strict=len(photos) == 1,
        )
    return json_answer(_predictions(answers, photos, top))


@with_body
async def predict_many(request: Request, body: bytes) -> Response:
    """What several tasks say of photos."""
    context = context_of(request)
    names = list(dict.fromkeys(filter(None, request.query_params.get("tasks", "").split(","))))
    if not names:
        raise HttpError(400, "no task is named: expected ?tasks=NAME,NAME.")
    top = number_in(request, "top", int, _TOP)
    until = deadline(context.limits, number_in(request, "timeout", float))
    photos = await photos_of(request, body, context.limits)
    images = Images(files=[photo.data for photo in photos])
    with _named(photos):
        found = await context.service.predict_many(
            names, images, deadline=until, strict=len(photos) == 1
        )
    return json_answer({"tasks": {name: _predictions(found[name], photos, top) for name in names}})


@with_body
async def embed(request: Request, body: bytes) -> Response:
    """The features of photos."""
    context = context_of(request)
    until = deadline(context.limits, number_in(request, "timeout", float))
    photos = await photos_of(request, body, context.limits)
    images = Images(files=[photo.data for photo in photos])
    with _named(photos):
        features = await context.service.embed(images, deadline=until)
    return json_answer({"features": features.tolist()})


@contextmanager
def _named(photos: list[Photo]) -> Iterator[None]:
    """Call a photo that can't be read by its sender's name."""
    try:
        yield
    except NotAnImage as error:
        name = photos[error.index].name or f"image {error.index}"
        raise HttpError(422, f"{name} can't be read: {error.why}.") from error


def _predictions(answers: Answers, photos: list[Photo], top: int) -> dict[str, Any]:
    rows = zip(answers.rows, photos, strict=True)
    return {
        "task": answers.task,
        "version": answers.version,
        "predictions": [_prediction(row, photo, top).record for row, photo in rows],
    }


def _prediction(row: Answer, photo: Photo, top: int) -> Prediction:
    path = Path(photo.name) if photo.name else None
    if row.error is not None:
        return Prediction(path=path, error=row.error)
    best = np.argsort(-row.probabilities, kind="stable")[:top].tolist()
    ranked = tuple(Ranked(row.labels[index], float(row.probabilities[index])) for index in best)
    return Prediction(
        path=path,
        label=ranked[0].label,
        labels=row.given,
        probability=ranked[0].probability,
        known=row.known,
        top=ranked,
    )


def _shown(status: TaskStatus) -> dict[str, Any]:
    return {
        "name": status.name,
        "version": status.version,
        "versions": list(status.versions),
        "labels": None if status.labels is None else list(status.labels),
        "kind": status.kind,
        "state": status.state,
        "reason": status.reason,
        "resident": status.resident,
        "pinned": status.pinned,
        "folded": status.folded,
    }
