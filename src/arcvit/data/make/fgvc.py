"""Build a task of FGVC in VPT's layout from the original download of its data set."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from arcvit.core.errors import UserError
from arcvit.data.catalogue import BenchmarkTask
from arcvit.data.findings import examples
from arcvit.data.make.fgvc_lists import BUILT_BY, Lists, draw_lists, find_lists, read_lists
from arcvit.data.make.fgvc_originals import Original, read_original
from arcvit.data.make.fgvc_write import as_list, write_fgvc
from arcvit.data.readers.fgvc import NAMES
from arcvit.data.readers.finish import missing_files, shared_images
from arcvit.data.readers.folders import image_files
from arcvit.data.readers.reader import Opening
from arcvit.data.task import Split

Validation = Literal["official", "lists", "drawn"]


@dataclass(frozen=True, kw_only=True)
class PreparedFgvc:
    """What was written."""

    folder: Path
    """The task's folder."""
    counts: dict[str, int]
    """The number of images of each split."""
    validation: Validation
    """Where validation images come from: the data set, VPT's lists, or a draw."""
    lists: Path | None
    """The folder of VPT's lists, where they were taken."""
    written: bool
    """False where the same was there already."""


def prepare_fgvc(
    task: BenchmarkTask,
    source: Path,
    out: Path,
    *,
    seed: int,
    lists: Path | None = None,
    copy: bool = False,
) -> PreparedFgvc:
    """Write ``train.json``, ``val.json``, ``test.json`` and links to the images.

    Train and test are the official parts. Validation images are Flowers' own; of the other four
    VPT's where its lists are given or lie beside the source's; else a tenth of train.

    Args:
        task: what is expected; a source with other counts is refused.
        source: the folder that the archives were unpacked in, or the one that they made in it.
        out: the root; the task's folder goes into it.
        seed: decides which images of train validate.
        lists: a folder with VPT's lists, or with a folder of them for each task.
        copy: whether images are copied, not linked to.

    Raises:
        UserError: a list or an image is missing, damaged, of another data set, or too many; the
            task's folder has something else in it.
    """
    original = read_original(task.name, source.expanduser())
    _check_counts(original, task)
    _check_files(original)
    place = (lists or original.folder).expanduser()
    folder_of_lists = find_lists(place, task, given=lists is not None)
    if lists is not None and folder_of_lists is None:
        raise UserError(
            f"{lists} has no train.json, nor has a folder {task.name} in it: expected VPT's lists."
        )
    validation: Validation = "lists"
    if folder_of_lists is None:
        splits = draw_lists(original, seed)
        validation = "official" if "val" in original.parts else "drawn"
    else:
        splits = read_lists(folder_of_lists, original)
    texts = {f"{split}.json": as_list(labels) for split, labels in splits.items()}
    if original.names:
        texts[NAMES] = json.dumps(_names(original, splits), indent=0, ensure_ascii=False) + "\n"
    texts["README.md"] = _readme(task, validation, seed)
    folder = out.expanduser() / task.name
    images = [name for part in splits.values() for name in part]
    return PreparedFgvc(
        folder=folder,
        counts={split: len(part) for split, part in splits.items()},
        validation=validation,
        lists=folder_of_lists,
        written=write_fgvc(folder, original, texts, copy=images if copy else None),
    )


def _check_counts(original: Original, task: BenchmarkTask) -> None:
    """Refuse what isn't the data set as published: shared copies lack classes or images."""
    parts = original.parts
    expected = dict(task.counts) if "val" in parts else {**task.counts, "train": task.trainval}
    found = {split: len(part) for split, part in parts.items()}
    classes = len({label for part in parts.values() for label in part.values()})
    if classes == task.classes and all(expected[split] == found[split] for split in found):
        return
    wanted = ", ".join(f"{expected[split]:,} {split}" for split in found)
    there = ", ".join(f"{count:,} {split}" for split, count in found.items())
    raise UserError(
        f"{original.folder} isn't {task.name} as published: expected {task.classes} classes and"
        f" {wanted} images, its lists have {classes} classes and {there}; get it again."
    )


def _check_files(original: Original) -> None:
    """Refuse images that are listed and not there, there and not listed, or listed twice."""
    splits = {
        split: Split.of((original.file(name), label) for name, label in part.items())
        for split, part in original.parts.items()
    }
    for finding in shared_images(splits, original.folder):
        raise UserError(finding.text)
    listed = [path for split in splits.values() for path in split.paths]
    unpack = "unpack the archive of the images there, whole"
    for finding in missing_files(listed, original.folder, remedy=unpack):
        raise UserError(finding.text)
    known = frozenset(listed)
    for name in original.image_folders:
        folder = original.folder / name
        if extra := [file for file in image_files(folder, folder, Opening()) if file not in known]:
            raise UserError(
                f"{folder} has {len(extra):,} file(s) that no list names, move them away:"
                f" {examples(extra)}."
            )


def _names(original: Original, splits: Lists) -> dict[str, str]:
    """Name of each class, by its number in the lists: those of VPT may have their own."""
    official = {name: label for part in original.parts.values() for name, label in part.items()}
    pairs = {(label, official[name]) for part in splits.values() for name, label in part.items()}
    return {str(label): original.names.get(own, str(own)) for label, own in sorted(pairs)}


def _readme(task: BenchmarkTask, validation: Validation, seed: int) -> str:
    told = {
        "official": "Train, validation and test are the data set's own parts, as in VPT.",
        "lists": "Train, validation and test are VPT's lists; test is the official part.",
        "drawn": "Test is the official part. **Validation isn't VPT's**, whose lists were drawn at"
        f" random: as many\nimages are drawn from the official training part, evenly over classes"
        f" (seed {seed}).",
    }[validation]
    return f"""\
# {task.name}

{BUILT_BY} {task.name}` in the layout of VPT: `train.json`, `val.json` and
`test.json`, each `{{"path": class number}}`, and the images.

{told}
"""
