"""``arcvit serve``: many tasks on one backbone, behind HTTP."""

import argparse
import logging
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from arcvit.cli.parser import CommandParser, command_parser
from arcvit.core.errors import UserError
from arcvit.core.extras import require
from arcvit.core.settings import from_text, hints_of


def run(argv: list[str]) -> int:
    """Serve until told to end; 1 where requests were dropped then."""
    from arcvit.serve.http.limits import Limits
    from arcvit.serve.ray.deployment import RaySettings
    from arcvit.serve.settings import ServeSettings

    options = _parser().parse_args(argv)
    require("serve", "arcvit serve")
    settings = _settings(ServeSettings, options)
    limits = _settings(Limits, options)
    replicas = _settings(RaySettings, options)
    if options.ray is None and replicas != RaySettings():
        raise UserError("--replicas, --replica_cpus and --replica_gpus need --ray.")
    if options.ray is not None:
        require("cluster", "arcvit serve --ray")
    if not 0 <= options.port < 2**16:
        raise UserError(f"--port {options.port} is none: expected 0 to 65535.")

    from arcvit.serve.http.context import Context
    from arcvit.serve.http.metrics import Metrics
    from arcvit.serve.http.server import address_of, listen, serve
    from arcvit.serve.http.tokens import Tokens
    from arcvit.serve.ray.deployment import Deployment, name_for
    from arcvit.serve.ray.service import RayService
    from arcvit.serve.service import Service

    tokens = Tokens.read(options.tokens)
    # First, as it is what goes wrong most often, and the model takes a while.
    with listen(options.host, options.port) as listener:
        _log(sys.stderr)
        host = listener.getsockname()[0]
        if not tokens.users and not tokens.admins and not host.startswith(("127.", "::1")):
            logging.getLogger("arcvit.serve").warning(
                "whoever reaches %s may ask: --tokens FILE lets in only some", address_of(listener)
            )
        metrics = Metrics()
        given = (options.backbone, options.adapters, settings)
        seen = {"observer": metrics, "state_file": options.state}
        service: Service | RayService
        if options.ray is None:
            service = Service(*given, **seen)
            service.begin()
        else:
            service = RayService(*given, **seen)
            name = name_for(listener.getsockname()[1])
            service.begin(Deployment(options.ray or None, replicas, name))
        context = Context(service, metrics, limits, tokens, options.log_requests)
        return serve(context, listener)


def _parser() -> CommandParser:
    from arcvit.serve.http.limits import Limits
    from arcvit.serve.ray.deployment import RaySettings
    from arcvit.serve.settings import ServeSettings

    parser = command_parser(
        "serve",
        "Answer over HTTP for all tasks in a folder of adapters, on one backbone: a page at /, a"
        " plain protocol below /v1, and the Open Inference Protocol of Triton and KServe below /v2."
        " SIGTERM and Ctrl-C finish what was asked; the exit code is 0, or 1 where requests were"
        " dropped.",
    )
    parser.add_argument("--backbone", required=True, help="As for arcvit train; or demo.")
    parser.add_argument(
        "--adapters",
        required=True,
        metavar="DIR",
        help="A folder with one for each task: a run, an adapter, or versions of it: 1, 2, ...",
    )
    parser.add_argument("--host", default="127.0.0.1", help="Address to listen at (%(default)s).")
    parser.add_argument("--port", default=8000, type=int, help="Port; 0: a free one (%(default)s).")
    parser.add_argument(
        "--tokens",
        type=Path,
        metavar="FILE",
        help="Tokens of those who may ask, one a line; those behind admin: may load and unload."
        " ARCVIT_TOKENS in the environment holds more.",
    )
    parser.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="Where it is kept what was loaded and unloaded (in DIR).",
    )
    parser.add_argument(
        "--log_requests", action="store_true", help="Tell of each request on standard error."
    )
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="Answer by replicas on a Ray cluster: that of ADDRESS, as host:6379 or auto, else of"
        " RAY_ADDRESS, else one that is started here. All nodes need DIR at the same path.",
    )
    _add_settings(parser, "replicas, with --ray", RaySettings)
    _add_settings(parser, "engine", ServeSettings)
    _add_settings(parser, "limits", Limits)
    return parser


def _add_settings(parser: CommandParser, title: str, settings: type) -> None:
    """A flag for each field of a config dataclass, with its docstring as help."""
    from arcvit.recipe.help import meanings

    group = parser.add_argument_group(title)
    said = meanings(settings)
    for field in fields(settings):
        default = "" if field.default is None else f" ({field.default})"
        text = f"{said[field.name][0].upper()}{said[field.name][1:].rstrip('.')}{default}."
        group.add_argument(f"--{field.name}", metavar="VALUE", help=text)


def _settings(settings: type, options: argparse.Namespace) -> Any:
    hints = hints_of(settings)
    given = {field.name: getattr(options, field.name) for field in fields(settings)}
    values = {
        name: from_text(text, hints[name], key=f"--{name}")
        for name, text in given.items()
        if text is not None
    }
    return settings(**values)


def _log(stream: Any) -> None:
    """Warnings and errors, and what --log_requests tells, on standard error."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("arcvit: %(message)s"))
    logger = logging.getLogger("arcvit.serve")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
