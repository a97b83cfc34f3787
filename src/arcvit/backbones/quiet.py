"""Models of transformers without the library's reports, which say what is meant to be so."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Within the context transformers says nothing of what it loads and writes."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def ignore_old_name() -> None:
    """Don't tell the user that PEFT asks models by a name which transformers has deprecated."""
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")
