"""The Open Inference Protocol, version 2, as Triton's and KServe's clients speak it over HTTP."""

from importlib.metadata import version as version_of

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from arcvit.serve.asking import until
from arcvit.serve.http.apart import NUMBER, apart
from arcvit.serve.http.asked import deadline, for_admin, with_body
from arcvit.serve.http.context import context_of
from arcvit.serve.http.door import json_answer
from arcvit.serve.http.http_error import HttpError
from arcvit.serve.http.infer_answer import write_answer
from arcvit.serve.http.infer_request import HEADER_LENGTH, read_request
from arcvit.serve.http.json_body import field, json_object
from arcvit.serve.http.model_forms import model_config, model_metadata, model_stats
from arcvit.serve.request import Images

_EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "statistics",
)


async def server_metadata(_: Request) -> Response:
    """What server this is."""
    shown = {"name": "arcvit", "version": version_of("arcvit"), "extensions": list(_EXTENSIONS)}
    return json_answer(shown)


async def live(_: Request) -> Response:
    """Whether the server runs."""
    return json_answer({"live": True})


async def ready(request: Request) -> Response:
    """Whether the server takes requests."""
    is_ready = context_of(request).service.state == "ready"
    return json_answer({"ready": is_ready}, 200 if is_ready else 503)


async def metadata(request: Request) -> Response:
    """Inputs and outputs of a task."""
    service = context_of(request).service
    return json_answer(model_metadata(await service.describe(*_asked(request))))


async def config(request: Request) -> Response:
    """A task as Triton would have it in config.pbtxt."""
    service = context_of(request).service
    return json_answer(model_config(await service.describe(*_asked(request))))


async def model_ready(request: Request) -> Response:
    """Whether a task can be asked."""
    name, version = _asked(request)
    await context_of(request).service.describe(name, version)
    return json_answer({"name": name, "ready": True})


async def stats(request: Request) -> Response:
    """What a task has done, or all of them have."""
    service = context_of(request).service
    if "task" in request.path_params:
        name, version = _asked(request)
        told = [await service.describe(name, version)]
    else:
        told = [status for status in await service.tasks() if status.version is not None]
    done = await service.stats([status.name for status in told])
    shown = [model_stats(*each) for each in zip(told, done, strict=True)]
    return json_answer({"model_stats": shown})


@with_body
async def infer(request: Request, body: bytes) -> Response:
    """What a task says of images."""
    context = context_of(request)
    name, version = _asked(request)
    most, header = context.limits.max_images, request.headers.get(HEADER_LENGTH)
    latest = deadline(context.limits, None)
    async with until(latest):
        asked = await apart(
            context.reader, len(body), lambda: read_request(body, header, max_images=most)
        )
    if isinstance(asked.images, list):
        images = Images(files=asked.images)
    elif asked.images.dtype == np.uint8:
        images = Images(pixels=asked.images)
    else:
        images = Images(inputs=asked.images)
    wanted = min(latest, deadline(context.limits, asked.timeout))
    # A tensor has no room for a sentence: one image that can't be read refuses them all.
    answers = await context.service.predict(name, images, version=version, deadline=wanted)
    size = NUMBER * len(answers.rows) * len(answers.rows[0].labels)
    content, headers = await apart(context.writer, size, lambda: write_answer(answers, asked))
    return Response(content, headers=headers)


@with_body
async def index(request: Request, body: bytes) -> Response:
    """All tasks with their states."""
    only_ready = field(json_object(body, "the request"), "ready", bool, "the request", False)
    rows = []
    for status in await context_of(request).service.tasks():
        is_ready = status.state in ("ready", "registered")
        row = {"name": status.name, "state": "READY" if is_ready else "UNAVAILABLE"}
        if status.reason:
            row["reason"] = status.reason
        if is_ready:
            rows += [{**row, "version": str(version)} for version in status.versions]
        elif not only_ready:
            rows.append(row)
    return json_answer(rows)


@for_admin
@with_body
async def load(request: Request, body: bytes) -> Response:
    """Read a task anew, and serve it from now on."""
    parameters = field(json_object(body, "the request"), "parameters", dict, "the request", {})
    for name in parameters:
        if name != "config":
            raise HttpError(
                400,
                f"loading takes no {name!r:.80}: expected 'config' or nothing, files stay here.",
            )
    text = field(parameters, "config", str, "'parameters'", "")
    asked = json_object(text.encode(errors="replace"), "'config'")
    policy = field(asked, "version_policy", dict, "'config'")
    if further := set(asked) - {"name", "version_policy"}:
        raise HttpError(
            400, f"'config' has {min(further)!r:.80}: only 'version_policy' can be chosen."
        )
    await context_of(request).service.load(request.path_params["task"], policy)
    return Response()


@for_admin
@with_body
async def unload(request: Request, body: bytes) -> Response:
    """Serve a task no more."""
    json_object(body, "the request")
    await context_of(request).service.unload(request.path_params["task"])
    return Response()


def _asked(request: Request) -> tuple[str, int | None]:
    """The task and the version that a path names."""
    name, text = request.path_params["task"], request.path_params.get("version")
    if text is None:
        return name, None
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise HttpError(404, f"a version is a number: there is no {text!r:.40}.")
    return name, int(text)
