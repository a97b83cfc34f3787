"""What the lists of a task say, read to the end: everything that is wrong, not the first thing.

Readers refuse a task at its first mistake; a check wants all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arcvit.core.errors import UserError
from arcvit.data.catalogue import BenchmarkTask
from arcvit.data.findings import Finding, examples, note, spoils, warning
from arcvit.data.readers import fgvc, vtab
from arcvit.data.readers.cub import is_cub
from arcvit.data.readers.dogs import is_dogs
from arcvit.data.readers.folders import split_folders
from arcvit.data.readers.layouts import open_task
from arcvit.data.readers.table import DELIMITER_OF_SUFFIX
from arcvit.data.task import SPLITS, ImageTask, Split


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Images and labels of a task, as far as they can be read."""

    layout: str
    """The layout, as ``ImageTask`` calls it; ``unknown`` where none fits."""
    images: Path
    """The folder that the images were found in."""
    splits: Mapping[str, Split]
    """What the lists say, in the order of ``SPLITS``; images may be missing on disk."""
    classes: tuple[str, ...]
    """Class names as far as they are known, in label order."""
    findings: tuple[Finding, ...] = ()
    """What is wrong with the lists themselves."""
    held_out: tuple[str, ...] = ()
    """Splits that have no list of their own and were taken out of another."""


def list_task(path: Path, known: BenchmarkTask | None, opening: Mapping[str, Any]) -> Listing:
    """Read the lists of the task at a path.

    Args:
        path: the task's folder or table.
        known: the catalogue's record where it is one of the benchmarks.
        opening: arguments of ``open_task``, ``val_fraction`` among them.
    """
    if path.is_dir() and vtab.is_vtab(path):
        return _list_vtab(path, known)
    if path.is_dir() and fgvc.is_fgvc(path):
        return _list_fgvc(path, opening)
    try:
        task = open_task(path, **opening)
    except UserError as error:
        return Listing(
            layout=_layout(path),
            images=path,
            splits={},
            classes=(),
            findings=(spoils("unreadable-task", str(error)),),
        )
    return _of_task(task, path, opening["val_fraction"])


def _layout(path: Path) -> str:
    """The layout of a task that can't be read."""
    if path.suffix.lower() in DELIMITER_OF_SUFFIX:
        return "table"
    return "cub" if is_cub(path) else "dogs" if is_dogs(path) else "unknown"


def _list_vtab(root: Path, known: BenchmarkTask | None) -> Listing:
    splits, findings = {}, []
    for split, name in vtab.LIST_OF_SPLIT.items():
        if not (root / name).is_file():
            findings.append(spoils("absent-split", f"{name} is not there: there is no {split}."))
            continue
        try:
            splits[split], complaints = vtab.parse_list(root / name)
        except UserError as error:
            complaints = [str(error)]
        findings += _complaints(name, complaints)
    used = {label for images in splits.values() for label in images.labels}
    # A stray label of millions is told as such, and doesn't make millions of classes.
    sane = known.classes if known is not None else 2 * len(used)
    count = max((label for label in used if label < sane), default=-1) + 1
    classes: tuple[str, ...] = ()
    try:
        classes = vtab.class_names(root, count, None)
    except UserError as error:
        findings.append(spoils("class-names", str(error)))
    if known is not None and len(classes) < known.classes and not (root / "classes.txt").is_file():
        classes = tuple(map(str, range(known.classes)))
    return Listing(
        layout="vtab", images=root, splits=splits, classes=classes, findings=tuple(findings)
    )


def _list_fgvc(root: Path, opening: Mapping[str, Any]) -> Listing:
    lists, findings = {}, []
    for split in SPLITS:
        file = root / f"{split}.json"
        if file.is_file():
            lists[split], complaints = fgvc.parse_list(file)
            findings += _complaints(file.name, complaints)
        elif split in ("train", "test"):
            findings.append(spoils("absent-split", f"{file.name} is not there."))
    images = root
    try:
        images = fgvc.image_folder(root, [name for listed in lists.values() for name in listed])
    except UserError as error:
        findings.append(spoils("missing-files", str(error)))
    ids = sorted({class_id for listed in lists.values() for class_id in listed.values()})
    label_of = {class_id: label for label, class_id in enumerate(ids)}
    splits = {
        split: Split(
            paths=tuple(images / name for name in listed),
            labels=tuple(label_of[class_id] for class_id in listed.values()),
        )
        for split, listed in lists.items()
    }
    held_out: tuple[str, ...] = ()
    if "val" not in splits and not any(f.severity == "spoils" for f in findings):
        try:
            fraction = opening["val_fraction"]
            read = fgvc.read_fgvc(root, val_fraction=fraction, seed=opening.get("seed", 0))
            splits = dict(read.splits)
            held_out = ("val",)
            findings.append(_held_out("val.json is not there", fraction))
        except UserError as error:
            findings.append(spoils("unreadable-task", str(error)))
    return Listing(
        layout="fgvc",
        images=images,
        splits={split: splits[split] for split in SPLITS if split in splits},
        classes=tuple(map(str, ids)),
        findings=tuple(findings),
        held_out=held_out,
    )


def _of_task(task: ImageTask, path: Path, val_fraction: float) -> Listing:
    findings = []
    held_out: tuple[str, ...] = ()
    if task.layout == "folders":
        folders = split_folders(path)
        if folders and "test" not in folders:
            findings.append(spoils("absent-split", "there is no folder 'test'."))
        if not folders:
            held_out = ("val", "test")
            findings.append(
                note("held-out", "there are no split folders: val and test are held out by hash.")
            )
        elif "val" not in folders:
            held_out = ("val",)
            findings.append(_held_out("there is no folder 'val'", val_fraction))
    elif not task.has("test"):
        findings.append(spoils("absent-split", f"no image of {path.name} is in the test split."))
    elif task.layout in ("cub", "dogs"):
        held_out = ("val",)
        findings.append(_held_out("the layout has no validation split", val_fraction))
    return Listing(
        layout=task.layout,
        images=task.root,
        splits=task.splits,
        classes=task.classes,
        findings=tuple(findings),
        held_out=held_out,
    )


def _held_out(why: str, fraction: float) -> Finding:
    return warning(
        "held-out", f"{why}: {fraction:.0%} of each class of train is held out by hash, as val."
    )


def _complaints(name: str, complaints: list[str]) -> list[Finding]:
    if not complaints:
        return []
    doubled = [c for c in complaints if "expected each image once" in c]
    other = [c for c in complaints if c not in doubled]
    findings = []
    if doubled:
        text = f"{name} lists {len(doubled):,} image(s) more than once: {doubled[0]}"
        findings.append(spoils("repeated-lines", text))
    if other:
        text = f"{name} has {len(other):,} mistake(s): {examples(other)}"
        findings.append(spoils("malformed-list", text))
    return findings
