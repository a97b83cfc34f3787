"""Look into image files: whether they can be read, what they are, and what their pixels are."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from arcvit.data.pixels.rgb import cores, why_unreadable


@dataclass(frozen=True, kw_only=True)
class ImageFacts:
    """What is known of one image file."""

    path: Path
    """The file."""
    problem: str | None
    """Why it can't be read; then the other fields are empty."""
    format: str = ""
    """The file's format as Pillow calls it, whatever its name ends in: ``PNG``, ``JPEG``."""
    size: tuple[int, int] = (0, 0)
    """Height and width in pixels."""
    pixels: bytes = b""
    """Hash of the size and the pixels in RGB: the same for a copy in another lossless format."""


def examine(
    paths: Sequence[Path], *, on_progress: Callable[[int], None] | None = None
) -> dict[Path, ImageFacts]:
    """Decode each file once, in a pool of threads.

    Args:
        paths: image files; one that is listed twice is read once.
        on_progress: told, in the calling thread, how many files are done.
    """
    different = list(dict.fromkeys(paths))
    facts = {}
    with ThreadPoolExecutor(cores()) as pool:
        for done, found in enumerate(pool.map(_examine, different), start=1):
            facts[found.path] = found
            if on_progress is not None:
                on_progress(done)
    return facts


def _examine(path: Path) -> ImageFacts:
    digests: list[bytes] = []

    def digest(image: Image.Image) -> None:
        digests.append(hashlib.sha256(b"%d %d " % image.size + image.tobytes()).digest())

    problem = why_unreadable(path, digest)
    if problem is not None:
        return ImageFacts(path=path, problem=problem)
    with Image.open(path) as image:
        return ImageFacts(
            path=path,
            problem=None,
            format=image.format or "?",
            size=(image.height, image.width),
            pixels=digests[0],
        )
