"""Whether another library's method is still the one that a copy in this package was made from.

A copy that leaves something out is right only for the method it was made from. Its statements are
compared, not its results on a probe: a probe sees the defaults, while an option that a later
version adds may be on in the user's model alone. Layout and comments don't count. A difference
costs the shortcut, never the result.
"""

import ast
import inspect
import textwrap
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any


@cache
def is_known(method: Callable[..., Any], statements: str, saving: str) -> bool:
    """Whether a method consists of these statements; a warning, once, where it doesn't.

    Args:
        method: the installed one.
        statements: the body it is expected to have, without its docstring.
        saving: what is done the plain way if it has another, the subject of the warning.
    """
    if _body(method) == ast.unparse(ast.parse(textwrap.dedent(statements))):
        return True
    warnings.warn(
        f"{saving} is off: {method.__module__}.{method.__qualname__} isn't the one it was written"
        " for. Results are the same; training takes more time or memory.",
        stacklevel=2,
    )
    return False


def _body(method: Callable[..., Any]) -> str | None:
    try:
        (function,) = ast.parse(textwrap.dedent(inspect.getsource(method))).body
    except (OSError, TypeError, ValueError, SyntaxError):  # no source, or not a plain function
        return None
    if not isinstance(function, ast.FunctionDef):
        return None
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return "\n".join(ast.unparse(statement) for statement in body)
