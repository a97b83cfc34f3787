"""Another forward of a module, for as long as a context lasts."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any


@contextmanager
def forward_as(module: Any, forward: Callable[..., Any]) -> Iterator[None]:
    """Within the context, a module's forward is ``forward(module, its own forward, inputs...)``."""
    own = vars(module).get("forward")
    module.forward = partial(forward, module, module.forward)
    try:
        yield
    finally:
        if own is None:
            del module.forward
        else:
            module.forward = own
