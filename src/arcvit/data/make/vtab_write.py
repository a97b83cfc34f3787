"""Write a task in the VTAB-1k layout: four lists and PNG files, which lose nothing."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from PIL import Image

from arcvit.core.errors import UserError
from arcvit.core.files import atomic_path
from arcvit.data.readers.vtab import LIST_OF_SPLIT

LabelledImages = Iterable[tuple[Image.Image, int]]
"""Images with their labels, in the order in which they are numbered."""


def write_vtab(
    folder: Path,
    splits: Mapping[str, LabelledImages],
    *,
    classes: Sequence[str],
    readme: str,
) -> dict[str, int]:
    """Write a task, whole or not at all.

    Files are ``images/<list>/000000.png``. ``train800val200`` gets copies of the images of train
    and val, as in every copy of VTAB-1k.

    Args:
        folder: the task's folder, which must not exist yet.
        splits: images of ``train``, ``val`` and ``test``; read once, one after the other.
        classes: class names in label order, written to ``classes.txt``.
        readme: text of the task's ``README.md``: where the images come from.

    Returns:
        The number of images of each split.

    Raises:
        UserError: the folder exists.
    """
    if folder.exists():
        raise UserError(f"{folder} is there already: remove it or choose another --out.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder) as partial:
        partial.mkdir()
        lists = {split: _write_split(partial, split, splits[split]) for split in splits}
        lists["trainval"] = _copy_trainval(partial, lists["train"] + lists["val"])
        for split, lines in lists.items():
            text = "".join(f"{name} {label}\n" for name, label in lines)
            (partial / LIST_OF_SPLIT[split]).write_text(text, encoding="utf-8")
        (partial / "classes.txt").write_text("".join(f"{c}\n" for c in classes), encoding="utf-8")
        (partial / "README.md").write_text(readme, encoding="utf-8")
    return {split: len(lines) for split, lines in lists.items()}


def _write_split(root: Path, split: str, images: LabelledImages) -> list[tuple[str, int]]:
    folder = _image_folder(split)
    (root / folder).mkdir(parents=True)
    lines = []
    for index, (image, label) in enumerate(images):
        name = f"{folder}/{index:06d}.png"
        image.save(root / name)
        lines.append((name, label))
    return lines


def _copy_trainval(root: Path, lines: list[tuple[str, int]]) -> list[tuple[str, int]]:
    folder = _image_folder("trainval")
    (root / folder).mkdir(parents=True)
    copies = [(f"{folder}/{index:06d}.png", label) for index, (_, label) in enumerate(lines)]
    for (source, _), (copy, _) in zip(lines, copies, strict=True):
        shutil.copyfile(root / source, root / copy)
    return copies


def _image_folder(split: str) -> str:
    return f"images/{Path(LIST_OF_SPLIT[split]).stem}"
