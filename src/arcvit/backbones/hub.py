"""Models on the hub: their config, timm's weights, and one sentence where they can't be had."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlparse
from urllib.request import getproxies

import huggingface_hub.constants
import timm
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from torch import nn

from arcvit.core.errors import UserError

_HELP = (
    "give a local file with --weights FILE (.safetensors or .pth), --weights random, or"
    " --backbone demo, which needs no network"
)
_LOST = cast("tuple[type[Exception], ...]", (EntryNotFoundError, *HfHubHTTPError.__bases__))
"""What a talk to the hub ends in where there is no file: errors of the client's HTTP library,
whichever it has, and the system's."""


def fetch_config(repo: str, revision: str | None) -> Path:
    """The ``config.json`` of a model on the hub, from the local cache or the hub.

    Args:
        repo: ``USER/NAME``.
        revision: branch, tag or commit; None: the main branch.

    Returns:
        The file, in a folder that is called as the commit it is from.

    Raises:
        UserError: says why it can't be had.
        OSError: the disk can't keep it.
    """
    try:
        file = fetch_file(repo, "config.json", revision)
    except HFValidationError as error:
        raise UserError(
            f"{repo!r} is no name of a model on the hub: expected USER/NAME, or USER/NAME@REVISION."
        ) from error
    if file is None:
        raise UserError(f"{repo!r} holds no config.json: expected a model of timm or transformers.")
    return file


def fetch_file(repo: str, name: str, revision: str | None) -> Path | None:
    """A file of a model on the hub, from the local cache or the hub; None where it has none.

    Raises:
        UserError: says why that can't be told.
        OSError: the disk can't keep it.
    """
    try:
        with offline_if_unreachable():
            return Path(hf_hub_download(repo, name, revision=revision))
    except _LOST as error:
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            return None
        if _is_of_disk(error):
            raise
        raise UserError(_why_not(error, repo, name, revision)) from error


def build_from_hub(name: str, **arguments: Any) -> nn.Module:
    """A timm model with its pretrained weights, from the local cache or the hub.

    Raises:
        UserError: there are no such weights, or the hub can't be reached.
        OSError: the disk can't keep them.
    """
    with offline_if_unreachable():
        try:
            model: nn.Module = timm.create_model(name, pretrained=True, **arguments)
        except _LOST as error:
            if _is_of_disk(error):
                raise
            raise UserError(
                f"no weights for {name!r}: tried the local cache and {hub_name()}, which can't be"
                f" reached or doesn't have them; {_HELP}."
            ) from error
        except RuntimeError as error:
            if ":" in name or timm.list_pretrained(f"{name.split('.')[0]}*"):
                raise
            raise UserError(f"timm has no pretrained weights for {name!r}; {_HELP}.") from error
    return model


@contextmanager
def offline_if_unreachable() -> Iterator[None]:
    """Spare the user the hub client's minute of retries where the hub's name can't be resolved."""
    constants = huggingface_hub.constants
    was_offline = constants.HF_HUB_OFFLINE
    if not getproxies():
        try:
            socket.getaddrinfo(urlparse(constants.ENDPOINT).hostname, 443)
        except OSError:
            constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = was_offline


def _is_of_disk(error: Exception) -> bool:
    """Whether the system refused to keep a file: the client's own errors have no number."""
    return isinstance(error, OSError) and error.errno is not None


def _why_not(error: Exception, repo: str, name: str, revision: str | None) -> str:
    # The client looks into its cache first, and tells what the hub said as the cause.
    asked = error.__cause__ if isinstance(error, LocalEntryNotFoundError) else error
    status = getattr(getattr(asked, "response", None), "status_code", None)
    hub = hub_name()
    if isinstance(error, GatedRepoError):
        return (
            f"{repo!r} is gated on the hub: accept its terms on its page, and log in with"
            " `hf auth login`."
        )
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"{hub} shows no model {repo!r}: check the name; if it is private, log in with"
            " `hf auth login`."
        )
    if isinstance(error, RevisionNotFoundError):
        return (
            f"{repo!r} has no revision {revision!r} on the hub: expected a branch, a tag or a"
            " commit after the @."
        )
    if status is not None:
        return f"{hub} refuses {repo!r} ({status}): log in with `hf auth login`, or try later."
    of = f"{repo!r}" if revision is None else f"{repo!r} at {revision!r}"
    return (
        f"{of} can't be had: its {name} isn't in the local cache, and {hub} can't be reached;"
        " give a local folder, or --backbone demo, which needs no network."
    )


def hub_name() -> str:
    """The host that is asked: huggingface.co, or that of ``HF_ENDPOINT``."""
    return urlparse(huggingface_hub.constants.ENDPOINT).netloc
