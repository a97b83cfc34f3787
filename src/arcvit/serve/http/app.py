"""The routes of the server."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from arcvit.serve.http import open_inference, plain
from arcvit.serve.http.context import Context, context_of
from arcvit.serve.http.door import Door, not_routed
from arcvit.serve.http.metrics import CONTENT_TYPE
from arcvit.serve.http.openapi import openapi
from arcvit.serve.http.page import page


def build_app(context: Context) -> Starlette:
    """The application of a server with these parts."""
    models = "/v2/models/{task}"
    versions = models + "/versions/{version}"
    repository = "/v2/repository"
    routes = [
        Route("/", page),
        Route("/openapi.json", openapi),
        Route("/metrics", metrics),
        Route("/v1/tasks", plain.tasks),
        Route("/v1/tasks/{task}/predict", plain.predict, methods=["POST"]),
        Route("/v1/predict", plain.predict_many, methods=["POST"]),
        Route("/v1/embed", plain.embed, methods=["POST"]),
        Route("/v2", open_inference.server_metadata),
        Route("/v2/health/live", open_inference.live),
        Route("/v2/health/ready", open_inference.ready),
        Route("/v2/models/stats", open_inference.stats),
        Route(f"{repository}/index", open_inference.index, methods=["POST"]),
        Route(f"{repository}/models/{{task}}/load", open_inference.load, methods=["POST"]),
        Route(f"{repository}/models/{{task}}/unload", open_inference.unload, methods=["POST"]),
    ]
    for model in (models, versions):
        routes += [
            Route(model, open_inference.metadata),
            Route(f"{model}/ready", open_inference.model_ready),
            Route(f"{model}/config", open_inference.config),
            Route(f"{model}/stats", open_inference.stats),
            Route(f"{model}/infer", open_inference.infer, methods=["POST"]),
        ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Door, context=context)],
        exception_handlers={HTTPException: not_routed},
    )
    app.state.context = context
    return app


async def metrics(request: Request) -> Response:
    """All counters, for Prometheus."""
    context = context_of(request)
    names = [status.name for status in await context.service.tasks()]
    return Response(context.metrics.text(names), media_type=CONTENT_TYPE)
