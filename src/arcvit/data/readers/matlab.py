"""MATLAB files, as some data sets publish their lists: the variables that a list needs."""

import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from arcvit.core.errors import UserError
from arcvit.core.extras import require
from arcvit.data.findings import examples


def read_mat(path: Path, take: Callable[..., Any], *names: str, of: str) -> Any:
    """Read variables of a MATLAB file and take from them what is wanted.

    Args:
        path: a file of MATLAB 4 to 7.2; nothing in it is executed.
        take: given one array for each name, squeezed and of one dimension: text and numbers in
            cells are ``str`` and numpy scalars, a struct array has its fields by name. What it
            raises of a file that holds something else becomes the sentence.
        names: the variables.
        of: whose file it is, such as ``Stanford Dogs``.

    Raises:
        UserError: scipy isn't installed, or the file is damaged or another one.
    """
    require("matlab", f"{path}, a MATLAB file,")
    import numpy as np
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    damaged = (MatReadError, ValueError, TypeError, LookupError, NotImplementedError, EOFError)
    broken = (zlib.error, OverflowError, MemoryError, AttributeError, OSError)
    try:
        content = loadmat(path, variable_names=names, squeeze_me=True)
        return take(*(np.atleast_1d(content[name]) for name in names))
    except (*damaged, *broken) as error:
        raise UserError(
            f"{path} can't be read: expected {' and '.join(names)} of {of}"
            f" ({str(error) or type(error).__name__}); get it again."
        ) from error


def whole_numbers(values: Any) -> list[int]:
    """Numbers that MATLAB keeps as doubles.

    Raises:
        ValueError: one isn't whole.
    """
    numbers = [int(value) for value in values]
    if wrong := [value for value, number in zip(values, numbers, strict=True) if value != number]:
        raise ValueError(f"{wrong[0]} isn't a whole number")
    return numbers


def texts(values: Any) -> list[str]:
    """Texts in cells.

    Raises:
        TypeError: one is something else.
    """
    if wrong := [value for value in values if not isinstance(value, str)]:
        raise TypeError(f"{type(wrong[0]).__name__} where a text should be")
    return [str(value) for value in values]


def labelled(path: Path, names: Sequence[str], labels: Sequence[int]) -> dict[str, int]:
    """The class number of each image of a list.

    Raises:
        UserError: there are none, not as many of one as of the other, or an image twice.
    """
    if not names or len(names) != len(labels):
        raise UserError(f"{path} has {len(names)} image(s) but {len(labels)} label(s).")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(
            f"{path} lists {len(twice)} image(s) more than once, download it again:"
            f" {examples(sorted(twice), most=5)}."
        )
    return dict(zip(names, labels, strict=True))
