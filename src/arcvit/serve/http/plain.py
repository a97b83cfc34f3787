"""The plain protocol: photos in, predictions out."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from arcvit.recipe.prediction import Prediction, Ranked
from arcvit.serve.http.apart import NUMBER, apart
from arcvit.serve.http.asked import deadline, number_in, with_body
from arcvit.serve.http.context import Context, context_of
from arcvit.serve.http.door import json_answer
from arcvit.serve.http.http_error import HttpError
from arcvit.serve.http.uploads import Photo, photos_of
from arcvit.serve.refusals import NotAnImage
from arcvit.serve.request import Answer, Answers, Images, TaskStatus

_TOP = 5
_RANKED = 3 * NUMBER
"""Bytes that a label with its probability takes, about."""


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
    return await _written(context, _predictions(answers, photos, top), [answers], top)


@with_body
async def predict_many(request: Request, body: bytes) -> Response:
    """What several tasks say of photos."""
    context = context_of(request)
    # Once for each, as a name may hold whatever would part names.
    names = list(dict.fromkeys(filter(None, request.query_params.getlist("tasks"))))
    if not names:
        raise HttpError(400, "no task is named: expected ?tasks=NAME&tasks=NAME.")
    top = number_in(request, "top", int, _TOP)
    until = deadline(context.limits, number_in(request, "timeout", float))
    photos = await photos_of(request, body, context.limits)
    images = Images(files=[photo.data for photo in photos])
    with _named(photos):
        found = await context.service.predict_many(
            names, images, deadline=until, strict=len(photos) == 1
        )
    answers = {name: each for name, each in found.items() if isinstance(each, Answers)}
    said = {
        name: _predictions(answers[name], photos, top) if name in answers else {"error": str(each)}
        for name, each in found.items()
    }
    return await _written(context, {"tasks": said}, answers.values(), top)


@with_body
async def embed(request: Request, body: bytes) -> Response:
    """The features of photos."""
    context = context_of(request)
    until = deadline(context.limits, number_in(request, "timeout", float))
    photos = await photos_of(request, body, context.limits)
    images = Images(files=[photo.data for photo in photos])
    with _named(photos):
        features = await context.service.embed(images, deadline=until)
    content = {"features": [row.tolist for row in features]}
    return await apart(context.writer, NUMBER * features.size, lambda: json_answer(content))


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
        "predictions": [partial(_prediction, row, photo, top) for row, photo in rows],
    }


async def _written(
    context: Context, content: dict[str, Any], answers: Iterable[Answers], top: int
) -> Response:
    ranked = sum(len(each.rows) * min(top, len(each.rows[0].labels)) for each in answers)
    return await apart(context.writer, _RANKED * ranked, lambda: json_answer(content))


def _prediction(row: Answer, photo: Photo, top: int) -> dict[str, Any]:
    path = Path(photo.name) if photo.name else None
    if row.error is not None:
        return Prediction(path=path, error=row.error).record
    best = np.argsort(-row.probabilities, kind="stable")[:top].tolist()
    ranked = tuple(Ranked(row.labels[index], float(row.probabilities[index])) for index in best)
    said = Prediction(
        path=path,
        label=ranked[0].label,
        labels=row.given,
        probability=ranked[0].probability,
        known=row.known,
        top=ranked,
    )
    return said.record


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
