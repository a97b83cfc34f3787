"""MATLAB files, as some data sets publish their lists: the variables that a list needs."""

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from arcvit.core.errors import UserError
from arcvit.core.extras import require
from arcvit.core.files import MOST_BYTES
from arcvit.data.findings import examples

_HEADER = 128
_MATRIX, _COMPRESSED, _LAST_KIND = 14, 15, 18
_STARTS_ARRAY = [6, 5, 1]
_DEEPEST = 8


def read_mat(path: Path, take: Callable[..., Any], *names: str, of: str) -> Any:
    """Read variables of a MATLAB file and take from them what is wanted.

    Args:
        path: a file of MATLAB 5 to 7.2, as the data sets are; nothing in it is executed.
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

    try:
        with path.open("rb") as file:
            _look_through(file.read(MOST_BYTES))
        content = loadmat(path, variable_names=names, squeeze_me=True)
        return take(*(np.atleast_1d(content[name]) for name in names))
    except Exception as error:  # of a damaged file scipy raises whatever comes, names unset even
        raise UserError(
            f"{path} can't be read: expected {' and '.join(names)} of {of}"
            f" ({str(error) or type(error).__name__}); get it again."
        ) from error


def _look_through(content: bytes) -> None:
    """Refuse what isn't a file of level 5 ("MAT-File Format", MathWorks): scipy can crash on it.

    After the header a file is a row of elements; an array is one whose data are a row again.

    Raises:
        ValueError: a type or size that can't be.
    """
    order: Literal["little", "big"] = "big" if content[126:128] == b"MI" else "little"
    rows = [(memoryview(content)[_HEADER:], 0)]
    while rows:
        row, depth = rows.pop()
        kinds = []
        for kind, data in _elements(row, order):
            kinds.append(kind)
            if kind == _COMPRESSED and depth == 0:
                whole = zlib.decompressobj().decompress(data, MOST_BYTES)
                rows.append((memoryview(whole), depth))
            elif kind == _MATRIX and depth < _DEEPEST:
                rows.append((data, depth + 1))
            elif kind in (_MATRIX, _COMPRESSED):
                raise ValueError("cells are in cells too deep")
        if depth and kinds and (kinds[:3] != _STARTS_ARRAY or len(kinds) == 3):
            raise ValueError("an array isn't flags, sizes, a name, and data")


def _elements(row: memoryview, order: Literal["little", "big"]) -> Iterator[tuple[int, memoryview]]:
    """Type and data of each element."""
    while row:
        kind = int.from_bytes(row[:4], order)
        size = int.from_bytes(row[4:8], order)
        start, end = 8, 8 + size
        if kind >> 16:  # a small one: type and size in one word, the data in the next
            kind, size = kind & 0xFFFF, kind >> 16
            start, end = 4, 4 + size
        if not 0 < kind <= _LAST_KIND or end > (len(row) if start == 8 else 8):
            raise ValueError("an element has a type or a size that can't be")
        yield kind, row[start:end]
        # All but what is compressed takes a multiple of eight bytes.
        row = row[end if kind == _COMPRESSED else end + -end % 8 :]


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
