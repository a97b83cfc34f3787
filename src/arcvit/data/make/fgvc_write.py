"""Write an FGVC task in VPT's layout: lists, and links to the images, which stay where they are."""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from arcvit.core.errors import UserError
from arcvit.core.files import atomic_path
from arcvit.data.make.fgvc_originals import Original


def write_fgvc(
    folder: Path, original: Original, texts: Mapping[str, str], *, copy: Iterable[str] | None
) -> bool:
    """Write a task, whole or not at all.

    Args:
        folder: the task's folder.
        original: where the images are.
        texts: content of each file, by name.
        copy: the images to copy; None: their folders are linked to.

    Returns:
        Whether anything was written: False where the same is there already.

    Raises:
        UserError: something else is there, or links can't be made.
    """
    copied = None if copy is None else list(copy)
    if folder.is_dir() and os.path.samefile(folder, original.folder):
        raise UserError(f"--out would put the task into its source, {folder}: choose another.")
    if folder.exists() or folder.is_symlink():
        if difference := _difference(folder, original, texts, copied):
            raise UserError(
                f"{folder} is there already and {difference}: remove it or choose another --out."
            )
        return False
    with atomic_path(folder) as partial:
        partial.mkdir()
        for name, text in texts.items():
            (partial / name).write_text(text, encoding="utf-8")
        if copied is None:
            _link(partial, original)
        for name in copied or ():
            target = partial / original.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(original.file(name), target)
    return True


def as_list(labels: Mapping[str, int]) -> str:
    """A list as VPT's are: one object, an image a line for whoever looks into it."""
    return json.dumps(labels, indent=0) + "\n"


def _link(partial: Path, original: Original) -> None:
    for name in original.image_folders:
        target = (original.folder / name).resolve()
        try:
            (partial / name).symlink_to(target, target_is_directory=True)
        except OSError as error:
            raise UserError(
                f"no link to {target} can be made here ({error.strerror}): use --copy."
            ) from error


def _difference(
    folder: Path, original: Original, texts: Mapping[str, str], copied: list[str] | None
) -> str | None:
    """What is there and isn't what would be written."""
    if not folder.is_dir():
        return "isn't a folder"
    for name, text in texts.items():
        if not (folder / name).is_file():
            return f"has no {name}"
        if (folder / name).read_text(encoding="utf-8", errors="replace") != text:
            return f"its {name} is another one"
    for name in original.image_folders:
        here, there = folder / name, original.folder / name
        if copied is not None and here.is_symlink():
            return f"links to {name} in place of copies"
        if copied is None and not (here.is_symlink() and here.resolve() == there.resolve()):
            return f"its {name} isn't a link to {there}"
    for image in copied or ():
        here = folder / original.root / image
        if not here.is_file() or here.stat().st_size != original.file(image).stat().st_size:
            return f"its {image} is missing or another one"
    return None
