"""Checks that every reader makes, so that a wrong layout is an error and never a wrong accuracy."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from arcvit.core.errors import UserError
from arcvit.data.task import Split

LONGEST_LABEL = 9
"""Digits that a class index has at most."""


def is_label(text: str) -> bool:
    """Whether a text is a class index: a whole number, of no more digits than an index has."""
    return text.isascii() and text.isdigit() and len(text) <= LONGEST_LABEL


def list_some(items: Sequence[object], *, most: int = 20) -> str:
    """The first ``most`` items, comma-separated, then "and N more"."""
    named = ", ".join(str(item) for item in items[:most])
    return f"{named} and {len(items) - most} more" if len(items) > most else named


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, with or without a byte order mark.

    Raises:
        UserError: the file is in another encoding.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} isn't UTF-8 text: save it in that encoding.") from error


def check_files_there(paths: Iterable[Path], source: Path) -> None:
    """Refuse images that ``source`` lists and that are not on disk.

    Raises:
        UserError: names up to 20 of the missing files and counts the others.
    """
    # One listing per folder: far fewer calls than one look per file on a network disk.
    names_in: dict[Path, frozenset[str]] = {}
    missing = []
    for path in paths:
        folder = path.parent
        if folder not in names_in:
            names_in[folder] = frozenset(os.listdir(folder) if folder.is_dir() else ())
        # A name such as ".." is in no listing, so what is not listed is looked at itself.
        if path.name not in names_in[folder] and not path.is_file():
            missing.append(path)
    if missing:
        raise UserError(
            f"{source} lists {len(missing)} image(s) that are not there, restore them or take them"
            f" out of the list: {list_some(missing)}."
        )


def check_apart(splits: Mapping[str, Split], source: Path) -> None:
    """Refuse an image that is in two of train, val and test.

    ``trainval`` holds the images of train and val, so it is compared with test alone.

    Raises:
        UserError: names the two splits and up to 20 of the images.
    """
    for one, other in (("train", "val"), ("train", "test"), ("val", "test"), ("trainval", "test")):
        if one not in splits or other not in splits:
            continue
        known = frozenset(splits[one].paths)
        shared = [path for path in splits[other].paths if path in known]
        if shared:
            raise UserError(
                f"{source} has {len(shared)} image(s) in both {one} and {other}, keep each in one"
                f" of them: {list_some(shared)}."
            )


def check_classes(classes: Sequence[str], source: Path) -> None:
    """Refuse a task with fewer than two classes.

    Raises:
        UserError: names the classes there are.
    """
    if len(classes) < 2:
        found = f"only '{classes[0]}'" if classes else "none"
        raise UserError(f"{source} has too few classes: expected at least 2, found {found}.")


def check_trained(classes: Sequence[str], train: Split, source: Path) -> None:
    """Refuse a class that has no image to train on.

    Raises:
        UserError: names up to 20 such classes.
    """
    seen = frozenset(train.labels)
    unseen = [repr(name) for label, name in enumerate(classes) if label not in seen]
    if unseen:
        raise UserError(
            f"{source} has {len(unseen)} class(es) with no image in train, add images or remove"
            f" the class: {list_some(unseen)}."
        )
