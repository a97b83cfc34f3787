"""Class folders: ``<root>/{train,val,test}/<class>/*`` or ``<root>/<class>/*``."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NoReturn

from arcvit.core.errors import UserError
from arcvit.data.findings import Finding, examples, spoils, warning
from arcvit.data.readers.finish import finish
from arcvit.data.readers.reader import Opening, Reading
from arcvit.data.task import IMAGE_SUFFIXES, Split, class_name, split_named

# Folders that mean a split to whoever made them, but not which. Read as classes they would give a
# task that is easy and wrong.
LOOK_LIKE_SPLITS = ("trainval", "eval", "evaluation", "holdout", "unseen")
JUNK_SUFFIXES = (".txt", ".md", ".json", ".csv")
JUNK_FILES = ("thumbs.db", "desktop.ini")
JUNK_FOLDERS = ("__macosx", "@eadir", "lost+found")

ClassFiles = dict[str, list[Path]]
"""For each class its image files, both in sorted order."""


def recognises(path: Path) -> bool:
    """Whether a folder has split folders; one without them may be anything."""
    return path.is_dir() and any(split_named(folder.name) for folder in subfolders(path))


def read(path: Path, opening: Opening) -> Reading:
    """Read a task from class folders.

    With split folders, ``val`` is held out of ``train`` where there is no folder for it. Without
    them ``test`` is held out of all images and ``val`` of what is left. Hidden files, notes and
    tables are passed over; every other file is taken for an image, so that a broken one is
    reported later and not silently missing. What holds images and isn't read is a finding.

    Raises:
        UserError: no class folders, no train folder, two folders for one split.
    """
    splits_in = split_folders(path, opening)
    _refuse_lookalikes(path, opening, has_splits=bool(splits_in))
    if splits_in and "train" not in splits_in and not opening.to_measure:
        names = ", ".join(folder.name for folder in splits_in.values())
        raise UserError(
            f"{path} has the split folder(s) {names} but no 'train': expected"
            f" <split>/<class>/<image>, add a folder 'train'{_class_hint(splits_in.values())}."
        )
    found = {
        split: _class_files(folder, path, opening)
        for split, folder in (splits_in or {"train": path}).items()
    }
    classes = tuple(sorted({name for files in found.values() for name in files}))
    if len(classes) == 1 and not splits_in and (inner := subfolders(path / classes[0])):
        raise UserError(
            f"{path} has the class folder '{classes[0]}' alone, with folders inside it: expected at"
            f" least 2 classes, open {inner[0].parent} if those are the classes."
        )
    splits = {
        split: Split.of((file, i) for i, name in enumerate(classes) for file in files.get(name, ()))
        for split, files in found.items()
    }
    findings = [
        spoils("absent-split", f"{folder} has no images: add some or remove the folder.")
        for split, folder in splits_in.items()
        if not splits[split]
    ]
    findings += _unread(path, splits_in, opening)
    if "train" in found:
        findings += _two_levels(splits_in.get("train", path), found["train"])
    return finish(
        path,
        opening,
        layout="folders",
        root=path,
        classes=classes,
        splits=splits,
        holds_out=("val",) if splits_in else ("test", "val"),
        absent={
            split: f"there is no folder '{split}'" if splits_in else "there are no split folders"
            for split in ("val", "test")
        },
        findings=findings,
    )


def split_folders(root: Path, opening: Opening | None = None) -> dict[str, Path]:
    """The split folders in a folder, by split name, in the order train, val, test.

    Raises:
        UserError: two folders stand for the same split.
    """
    found: dict[str, Path] = {}
    for folder in subfolders(root):
        split = split_named(folder.name)
        if split is None or (opening and opening.leaves_out(folder, root)):
            continue
        if split in found:
            raise UserError(
                f"{root} has two folders for the {split} split, '{found[split].name}' and"
                f" '{folder.name}': keep one, or leave one out with --data.ignore."
            )
        found[split] = folder
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def subfolders(folder: Path) -> list[Path]:
    """The folders directly inside one, sorted by name, without hidden and system folders."""
    return sorted(
        (path for path in folder.iterdir() if path.is_dir() and not _is_junk_folder(path.name)),
        key=lambda path: path.name,
    )


def _refuse_lookalikes(root: Path, opening: Opening, *, has_splits: bool) -> None:
    names = [f.name for f in subfolders(root) if not opening.leaves_out(f, root)]
    alike = [name for name in names if name.casefold() in LOOK_LIKE_SPLITS]
    if alike and (has_splits or alike == names):
        raise UserError(
            f"{root} has folder(s) that look like splits, {', '.join(map(repr, alike))}: expected"
            " the names 'train', 'val' and 'test', rename them or leave them out with"
            " --data.ignore."
        )


def _class_hint(folders: Iterable[Path]) -> str:
    """What to do where a class has the name of a split: its images lie directly inside."""
    alike = [folder.name for folder in folders if _loose_images(folder)]
    if not alike:
        return ""
    return f"; if {alike[0]!r} is a class, put all class folders into a folder 'train'"


def _class_files(folder: Path, root: Path, opening: Opening) -> ClassFiles:
    found: ClassFiles = {}
    for child in subfolders(folder):
        if not opening.leaves_out(child, root):
            # The same name may be composed in two ways.
            found.setdefault(class_name(child.name), []).extend(image_files(child, root, opening))
    if not found:
        loose = len(_loose_images(folder))
        others = sum(path.is_file() for path in folder.iterdir()) - loose
        hint = _class_hint([folder]) if folder != root else ""
        if split_named(folder.name) != "train" and folder != root:
            hint = f", or leave it out with --data.ignore {folder.name!r}{hint}"
        raise UserError(
            f"{folder} has no class folders but {loose} image(s) and {others} other file(s)"
            " directly inside: expected <class>/<image>, put each image in a folder named after"
            f" its class{hint}."
        )
    return found


def image_files(folder: Path, root: Path, opening: Opening) -> list[Path]:
    """The files below a folder that are taken for images, in order; root is where globs start."""
    found: list[Path] = []
    visited: set[str] = set()
    # A class folder may be a link to one elsewhere, and several may lead to the same.
    for here, inner, files in os.walk(folder, followlinks=True, onerror=_refuse_unlisted):
        real = os.path.realpath(here)
        ignored = opening.leaves_out(Path(here), root)
        if os.path.islink(here) and Path(here) != root and not ignored:
            _refuse_loop(Path(here), folder)
        if real in visited or ignored:
            inner.clear()
            continue
        visited.add(real)
        inner[:] = sorted(name for name in inner if not _is_junk_folder(name))
        found += [Path(here, name) for name in files if not _is_junk_file(name)]
    kept = [path for path in found if not opening.leaves_out(path, root)]
    return sorted(kept, key=lambda path: path.relative_to(folder).as_posix())


def _refuse_loop(link: Path, folder: Path) -> None:
    """Refuse a link out of a class folder to one around it: all images would be of this class."""
    target = Path(os.path.realpath(link))
    around = Path(os.path.realpath(folder.parent))
    if around.is_relative_to(target):
        raise UserError(
            f"{link} is a link to {target}, a folder that it is in: remove the link, or leave it"
            " out with --data.ignore."
        )


def _loose_images(folder: Path) -> list[Path]:
    """Files directly in a folder that their names say are images."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not _is_junk_file(path.name) and path.is_file()
    )


def _unread(root: Path, splits_in: Mapping[str, Path], opening: Opening) -> list[Finding]:
    """What holds images and isn't read: folders beside the splits, files beside the classes."""
    places: list[str] = []
    if splits_in:
        for folder in subfolders(root):
            if folder not in splits_in.values() and not opening.leaves_out(folder, root):
                files = image_files(folder, root, opening)
                count = sum(file.suffix.lower() in IMAGE_SUFFIXES for file in files)
                places += [f"{folder.name}/ ({count:,})"] if count else []
    for folder in (root, *splits_in.values()):
        loose = [path for path in _loose_images(folder) if not opening.leaves_out(path, root)]
        places += [path.relative_to(root).as_posix() for path in loose]
    if not places:
        return []
    beside = f"the folder(s) {', '.join(f.name for f in splits_in.values())}" if splits_in else ""
    ignored = places[0].split(" ")[0].rstrip("/")
    return [
        spoils(
            "unread-images",
            f"{root} has images that aren't read, beside {beside or 'the class folders'}:"
            f" {examples(places, most=10)}; put them where they belong, or leave them out, as with"
            f" --data.ignore '{ignored}'.",
        )
    ]


def _two_levels(root: Path, found: ClassFiles) -> list[Finding]:
    """Whether the folders inside those taken for classes could be the classes."""
    inner: dict[str, set[str]] = {name: set() for name in found}
    for name, files in found.items():
        for file in files:
            inside = file.relative_to(root).parts[1:]
            if len(inside) == 1:
                return []
            inner[name].add(inside[0])
    if not any(len(names) > 1 for names in inner.values()):
        return []
    second = sorted(set().union(*inner.values()))
    return [
        warning(
            "two-levels",
            f"{root} has two levels of folders that could both be classes: it is read as"
            f" {examples(list(found))}, inside which lie {examples(second)}; if those are the"
            " classes, move the images to <class>/<image>.",
        )
    ]


def _is_junk_folder(name: str) -> bool:
    return name.startswith(".") or name.casefold() in JUNK_FOLDERS


def _is_junk_file(name: str) -> bool:
    lower = name.casefold()
    return lower.startswith(".") or lower in JUNK_FILES or lower.endswith(JUNK_SUFFIXES)


def _refuse_unlisted(error: OSError) -> NoReturn:
    raise UserError(f"{error.filename} can't be listed: {error.strerror}.") from error
