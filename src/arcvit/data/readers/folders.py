"""Class folders: ``<root>/{train,val,test}/<class>/*`` or ``<root>/<class>/*``."""

import os
from pathlib import Path
from typing import NoReturn

from arcvit.core.errors import UserError
from arcvit.data.findings import spoils
from arcvit.data.readers.finish import finish
from arcvit.data.readers.reader import Opening, Reading
from arcvit.data.task import IMAGE_SUFFIXES, SPLIT_OF_NAME, Split

# Folders that mean a split to whoever made them. Read as classes they would give a task that is
# easy and wrong.
LOOK_LIKE_SPLITS = ("training", "testing", "trainval", "dev", "eval", "evaluation")
JUNK_SUFFIXES = (".txt", ".md", ".json", ".csv")
JUNK_FILES = ("thumbs.db", "desktop.ini")
JUNK_FOLDERS = ("__macosx", "@eadir", "lost+found")

ClassFiles = dict[str, list[Path]]
"""For each class folder its image files, both in sorted order."""


def recognises(path: Path) -> bool:
    """Whether a folder has split folders; one without them may be anything."""
    return path.is_dir() and any(f.name.casefold() in SPLIT_OF_NAME for f in subfolders(path))


def read(path: Path, opening: Opening) -> Reading:
    """Read a task from class folders.

    With split folders, ``val`` is held out of ``train`` where there is no folder for it. Without
    them ``test`` is held out of all images and ``val`` of what is left. Hidden files, notes and
    tables are passed over; every other file is taken for an image, so that a broken one is
    reported later and not silently missing.

    Raises:
        UserError: no class folders, no train folder, two folders for one split.
    """
    folders = split_folders(path)
    _refuse_lookalikes(path, has_splits=bool(folders))
    if folders and "train" not in folders:
        raise UserError(
            f"{path} has the split folder(s) {', '.join(sorted(folders))} but no 'train': expected"
            f" <split>/<class>/<image>, add a folder 'train'."
        )
    found = {split: _class_files(f) for split, f in (folders or {"train": path}).items()}
    classes = tuple(sorted({name for files in found.values() for name in files}))
    if len(classes) == 1 and not folders and (inner := subfolders(path / classes[0])):
        raise UserError(
            f"{path} has the class folder '{classes[0]}' alone, with folders inside it: expected at"
            f" least 2 classes, open {inner[0].parent} if those are the classes."
        )
    splits = {
        split: Split.of((file, i) for i, name in enumerate(classes) for file in files.get(name, ()))
        for split, files in found.items()
    }
    return finish(
        path,
        opening,
        layout="folders",
        root=path,
        classes=classes,
        splits=splits,
        holds_out=("val",) if folders else ("test", "val"),
        absent={
            split: f"there is no folder '{split}'" if folders else "there are no split folders"
            for split in ("val", "test")
        },
        findings=[
            spoils("absent-split", f"{folder} has no images: add some or remove the folder.")
            for split, folder in folders.items()
            if not splits[split]
        ],
    )


def split_folders(root: Path) -> dict[str, Path]:
    """The split folders in a folder, by split name, in the order train, val, test.

    Raises:
        UserError: two folders stand for the same split.
    """
    found: dict[str, Path] = {}
    for folder in subfolders(root):
        split = SPLIT_OF_NAME.get(folder.name.casefold())
        if split is None:
            continue
        if split in found:
            raise UserError(
                f"{root} has two folders for the {split} split, '{found[split].name}' and"
                f" '{folder.name}': keep one."
            )
        found[split] = folder
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def subfolders(folder: Path) -> list[Path]:
    """The folders directly inside one, sorted by name, without hidden and system folders."""
    return sorted(
        (path for path in folder.iterdir() if path.is_dir() and not _is_junk_folder(path.name)),
        key=lambda path: path.name,
    )


def _refuse_lookalikes(root: Path, *, has_splits: bool) -> None:
    names = [folder.name for folder in subfolders(root)]
    alike = [name for name in names if name.casefold() in LOOK_LIKE_SPLITS]
    if alike and (has_splits or alike == names):
        raise UserError(
            f"{root} has folder(s) that look like splits, {', '.join(map(repr, alike))}: expected"
            " the names 'train', 'val' and 'test', rename them."
        )


def _class_files(folder: Path) -> ClassFiles:
    found = {child.name: _image_files(child) for child in subfolders(folder)}
    if not found:
        files = [path for path in folder.iterdir() if path.is_file()]
        loose = sum(path.suffix.lower() in IMAGE_SUFFIXES for path in files)
        raise UserError(
            f"{folder} has no class folders but {loose} image(s) and {len(files) - loose} other"
            " file(s) directly inside: expected <class>/<image>, put each image in a folder named"
            " after its class."
        )
    return found


def _image_files(folder: Path) -> list[Path]:
    found: list[Path] = []
    visited: set[str] = set()
    # A class folder may be a link to one elsewhere. A link to a folder above it would never end.
    for here, inner, files in os.walk(folder, followlinks=True, onerror=_refuse_unlisted):
        real = os.path.realpath(here)
        if real in visited:
            inner.clear()
            continue
        visited.add(real)
        inner[:] = sorted(name for name in inner if not _is_junk_folder(name))
        found += [Path(here, name) for name in files if not _is_junk_file(name)]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _is_junk_folder(name: str) -> bool:
    return name.startswith(".") or name.casefold() in JUNK_FOLDERS


def _is_junk_file(name: str) -> bool:
    lower = name.casefold()
    return lower.startswith(".") or lower in JUNK_FILES or lower.endswith(JUNK_SUFFIXES)


def _refuse_unlisted(error: OSError) -> NoReturn:
    raise UserError(f"{error.filename} can't be listed: {error.strerror}.") from error
