"""A terminal on which names are only names."""

from typing import Any

from rich.console import Console
from rich.text import Text

from arcvit.core.shown import plain


class PlainConsole(Console):
    """Shows text as it is: no markup, no emoji, no colours of its own, no control characters.

    What has a style is given as ``Text``.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **kwargs)

    def render_str(self, text: str, **kwargs: Any) -> Text:
        """What rich makes of every string, in lines and in tables."""
        return super().render_str("\n".join(map(plain, text.split("\n"))), **kwargs)
