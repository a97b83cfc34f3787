"""Build a timm model with weights from the hub, with one sentence where they can't be had."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlparse
from urllib.request import getproxies

import huggingface_hub.constants
import timm
from torch import nn

from arcvit.core.errors import UserError

_HELP = (
    "give a local file with --weights FILE (.safetensors or .pth), --weights random, or"
    " --backbone demo, which needs no network"
)


def build_from_hub(name: str, **arguments: Any) -> nn.Module:
    """A timm model with its pretrained weights, from the local cache or the hub.

    Raises:
        UserError: there are no such weights, or the hub can't be reached.
    """
    with offline_if_unreachable():
        try:
            model: nn.Module = timm.create_model(name, pretrained=True, **arguments)
        except OSError as error:
            raise UserError(
                f"no weights for {name!r}: tried the local cache and"
                f" {urlparse(huggingface_hub.constants.ENDPOINT).netloc}, which can't be reached"
                f" or doesn't have them; {_HELP}."
            ) from error
        except RuntimeError as error:
            if timm.list_pretrained(f"{name.split('.')[0]}*"):
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
