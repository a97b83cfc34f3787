"""The page of suspects: photos with their given and suggested labels, and pairs of the same."""

from pathlib import Path
from typing import Any

from arcvit.curate.suspects import Photo, Suspects
from arcvit.data.pixels.rgb import in_threads
from arcvit.pages.page import write_page
from arcvit.pages.photos import small_picture

_SUSPECTS = 120
_TWINS = 60


def write_suspects_page(found: Suspects, file: Path) -> None:
    """Write a self-contained page, atomically: the most suspicious first.

    Args:
        found: what should be looked at again.
        file: where to.
    """
    suspects, twins = found.suspects[:_SUSPECTS], found.twins[:_TWINS]
    shown: list[Photo] = [*suspects, *(photo for pair in twins for photo in (pair.one, pair.other))]
    how = found.decoding
    pictures = iter(list(in_threads(lambda photo: small_picture(photo.file, how), shown)))

    def card(photo: Photo, **more: Any) -> dict[str, Any]:
        return {"image": next(pictures), "photo": photo, **more}

    write_page(
        file,
        "suspects.html.j2",
        found=found,
        suspects=[card(one) for one in suspects],
        twins=[
            {
                "pair": pair,
                "same_label": pair.one.label == pair.other.label,
                "photos": [card(pair.one), card(pair.other)],
            }
            for pair in twins
        ],
    )
