"""Validation images of an FGVC task: the lists of VPT where they are given, else a draw."""

import math
from collections.abc import Mapping
from pathlib import Path

from arcvit.core.errors import UserError
from arcvit.data.catalogue import BenchmarkTask
from arcvit.data.findings import examples
from arcvit.data.make.fgvc_originals import Labels, Original, is_called
from arcvit.data.readers.fgvc import read_list
from arcvit.data.readers.folders import subfolders
from arcvit.data.readers.holdout import rank

SHARE = 10
"""One in so many training images validates, as in VPT."""
SPLITS = ("train", "val", "test")
BUILT_BY = "Built by `arcvit data prepare fgvc"
"""How the second paragraph of the README.md of what was built begins."""

Lists = Mapping[str, Labels]
"""For each of ``SPLITS`` the class number of each image."""


def draw_lists(original: Original, seed: int) -> Lists:
    """The official parts; without a validation part, a tenth of train is drawn for it.

    VPT drew at random. Here as many are drawn, but of every class in its share as nearly as whole
    images allow, and never all of one: ``rank`` decides which, so that it is the same everywhere.
    """
    train, test = original.parts["train"], original.parts["test"]
    if "val" in original.parts:
        return {"train": train, "val": original.parts["val"], "test": test}
    of_class: dict[int, list[str]] = {}
    for name in sorted(train, key=lambda name: rank(Path(name), seed, Path())):
        of_class.setdefault(train[name], []).append(name)
    # Each class has its images at even distances in [0, 1), and the starts of classes are as even:
    # what lies below a threshold is that share of each class, rounded up or down.
    order = sorted(of_class, key=lambda label: rank(Path(str(label)), seed, Path()))
    place = {
        name: (index + (start + 0.5) / len(order)) / len(of_class[label])
        for start, label in enumerate(order)
        for index, name in enumerate(of_class[label][:-1])
    }
    drawn = set(
        sorted(place, key=lambda name: (place[name], name))[: math.ceil(len(train) / SHARE)]
    )
    return {
        "train": {name: label for name, label in train.items() if name not in drawn},
        "val": {name: label for name, label in train.items() if name in drawn},
        "test": test,
    }


def find_lists(folder: Path, task: BenchmarkTask, *, given: bool) -> Path | None:
    """The folder with the lists: this one, or the one in it of the task's name.

    Args:
        folder: where to look.
        task: whose lists they are.
        given: whether they were asked for; else what an earlier call has built isn't taken.
    """
    if not folder.is_dir():
        return None
    named = [inner for inner in subfolders(folder) if is_called(inner, task.name)]
    for place in (folder, *named):
        if (place / "train.json").is_file() and (given or not is_built(place)):
            return place
    return None


def is_built(folder: Path) -> bool:
    """Whether a folder is what an earlier call has written, and no source of anything."""
    file = folder / "README.md"
    return file.is_file() and BUILT_BY in file.read_text(encoding="utf-8", errors="replace")


def read_lists(folder: Path, original: Original) -> Lists:
    """VPT's lists, with the class numbers they have, and paths that hold here.

    Raises:
        UserError: they are of other images, of another test part, or of other classes.
    """
    official = {name: label for part in original.parts.values() for name, label in part.items()}
    found = {split: _read(folder / f"{split}.json", original, official) for split in SPLITS}
    listed: dict[str, int] = {}
    for split, part in found.items():
        if twice := [name for name in part if name in listed]:
            raise UserError(
                f"{folder} lists {len(twice):,} image(s) of {split} in another list too:"
                f" {examples(twice)}; get the lists again."
            )
        listed.update(part)
    if found["test"].keys() != original.parts["test"].keys():
        theirs, ours = len(found["test"]), len(original.parts["test"])
        raise UserError(
            f"{folder / 'test.json'} has {theirs:,} images that aren't the {ours:,} of the official"
            " test part: expected VPT's lists, get them again."
        )
    if absent := [name for name in official if name not in listed]:
        raise UserError(
            f"the lists in {folder} lack {len(absent):,} image(s) of {original.folder}:"
            f" {examples(absent)}; get them again."
        )
    pairs = {(official[name], label) for name, label in listed.items()}
    if not len(pairs) == len(set(official.values())) == len(set(listed.values())):
        raise UserError(
            f"the lists in {folder} have other classes than {original.folder}: expected one number"
            " of theirs for each class; get them again."
        )
    return found


def _read(file: Path, original: Original, official: Labels) -> dict[str, int]:
    if not file.is_file():
        raise UserError(f"{file} isn't there: expected {', '.join(f'{s}.json' for s in SPLITS)}.")
    listed, findings = read_list(file)
    if findings:
        raise UserError(findings[0].text)
    renamed = {_here(name, original, official): label for name, label in listed.items()}
    if unknown := [name for name in renamed if name not in official]:
        raise UserError(
            f"{file} names {len(unknown):,} image(s) that {original.folder} hasn't, such as"
            f" {unknown[0]!r} where that has {next(iter(official))!r}: expected lists of the same"
            " download."
        )
    return renamed


def _here(name: str, original: Original, official: Labels) -> str:
    """An image's path as it is here: with or without the folder of the images."""
    folders = (*original.image_folders, original.root)
    short = [name.removeprefix(f"{folder}/") for folder in folders]
    ways = (name, *short, *(f"{folder}/{name}" for folder in folders))
    return next((way for way in ways if way in official), name)
