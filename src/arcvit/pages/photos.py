"""Photos of a run as small pictures for a page, where they still are what they were."""

import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from arcvit.core.predictions import Predicted
from arcvit.core.shown import csv_cell
from arcvit.core.task import read_task
from arcvit.data.contents import content_hashes
from arcvit.data.pixels.preset import Decoding, Preprocessing
from arcvit.data.pixels.rgb import in_threads, opened, to_rgb
from arcvit.pages.page import data_uri
from arcvit.recipe.parser import read_recipe
from arcvit.recipe.prepare import open_recipe_task
from arcvit.recipe.run import ADAPTER_FOLDER, RECIPE_FILE

EDGE = 144
"""Longer edge of a small picture in pixels: a third more than it is shown with."""


class Photos:
    """Small pictures of a run's images.

    Args:
        run: the run folder.
        moved: where the images lie now; None: where the recipe says.

    Attributes:
        problem: why there are none at all; empty where there are.
        missing: how many were asked for and aren't there, or aren't what they were.
    """

    def __init__(self, run: Path, moved: Path | None = None) -> None:
        self.problem = ""
        self.missing = 0
        self._path_of: dict[str, Path] = {}
        self._how = Decoding()
        try:
            recipe = read_recipe(run / RECIPE_FILE)
            if moved is not None:
                recipe = replace(recipe, data=replace(recipe.data, path=str(moved)))
            task = open_recipe_task(recipe)
            prep = read_task(run / ADAPTER_FOLDER).preprocessing
            self._how = Preprocessing.from_dict(prep).decoding
        except (ValueError, OSError) as error:
            self.problem = str(error)
            return
        self._path_of = {str(csv_cell(task.inside(path))): path for path in task.every().paths}

    def small(self, images: Sequence[Predicted]) -> list[str | None]:
        """A data URI of each; None where the file is gone, damaged, or another one by now."""
        found = list(in_threads(self._small, images))
        self.missing += found.count(None)
        return found

    def _small(self, image: Predicted) -> str | None:
        path = self._path_of.get(image.path)
        if path is None or content_hashes([path]) != [image.hash]:
            return None
        return small_picture(path, self._how)


def small_picture(path: Path, how: Decoding) -> str | None:
    """A data URI of an image file as a small picture; None where it can't be read."""
    # A file can be what it was and still be more than Pillow likes.
    with suppress(OSError, ValueError, SyntaxError), opened(path, how) as picture:
        picture.draft("RGB", (2 * EDGE, 2 * EDGE))  # a JPEG is decoded at a fraction
        rgb = to_rgb(picture, how)
        rgb.thumbnail((EDGE, EDGE))
        buffer = io.BytesIO()
        rgb.save(buffer, "WEBP", quality=70)
        return data_uri(buffer.getvalue(), "image/webp")
    return None
