"""The end of every reader: what a task must have, and the splits that are held out.

So a wrong layout is an error and never a wrong accuracy.
"""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from arcvit.data.findings import Finding, examples, printable, spoils, warning
from arcvit.data.readers.holdout import hold_out
from arcvit.data.readers.lists import refuse_many_classes
from arcvit.data.readers.reader import Opening, Reading
from arcvit.data.task import IMAGE_SUFFIXES, JOINT, SPLITS, ImageTask, Split, class_name

NAMED = 20
"""As many images or classes are named in a sentence; the others are counted."""
_MISSING_VALUES = ("", "nan", "null", "none", "na", "n/a", "#n/a", "<na>", "nat", "nil")


def finish(
    source: Path,
    opening: Opening,
    *,
    layout: str,
    root: Path,
    classes: Sequence[str],
    splits: Mapping[str, Split],
    lists: Mapping[str, Path] | None = None,
    holds_out: Sequence[str] = ("val",),
    absent: Mapping[str, str] | None = None,
    findings: Sequence[Finding] = (),
    covers_classes: bool = True,
    groups: Mapping[Path, str] | None = None,
    further: Mapping[str, Mapping[Path, str]] | None = None,
) -> Reading:
    """Check a task and hold out of train what it lacks.

    Args:
        source: what was read; the task is called by its name.
        opening: how much is held out.
        layout: the layout's name.
        root: the folder that image paths lie in.
        classes: class names in label order.
        splits: what the lists say. A split that is there and has no images is dropped; that it is
            wrong the reader says.
        lists: for each split the file that lists it; None where images were found, not listed.
        holds_out: the splits that are taken out of train where they are absent, in this order.
        absent: for splits that are absent, what isn't there.
        findings: what is wrong with the lists themselves.
        covers_classes: whether train has to have an image of every class.
        groups: what each image shows, where the layout tells it; else the path may.
        further: what a table says of its images in further columns.

    Raises:
        UserError: there are more classes than a head can learn.
    """
    refuse_many_classes(len(classes), source)
    classes = tuple(map(class_name, classes))
    found = list(findings)
    for split, file in (lists or {}).items():
        found += missing_files(splits[split].paths, file)
    found += shared_images(splits, source)
    least = 1 if opening.to_measure else 2
    if len(classes) < least:
        there = f"only '{classes[0]}'" if classes else "none"
        text = f"{source} has too few classes: expected at least {least}, found {there}."
        found.append(spoils("classes", text))
    if covers_classes and "train" in splits and not opening.to_measure:
        found += untrained_classes(classes, splits["train"], source)
    found += name_findings(classes, source, from_list=layout == "table")
    if opening.kind == "multilabel":
        found += joint_names(classes, source)
    if groups is None and opening.group_column is not None:
        text = f"{source} has no columns, and so none called {opening.group_column!r}: only tables"
        found.append(spoils("groups", f"{text} have, use --data.group_pattern."))
    elif groups is None and opening.group_pattern is not None:
        groups, unnamed = _groups_of_paths(splits, opening, root)
        found += unnamed
    found += shared_groups(splits, groups or {}, source)

    lacking = {
        split: (absent or {}).get(split, f"no image of {source.name} is in the {split} split")
        for split in SPLITS
        if split not in splits and (split in ("val", "test") or split in (absent or {}))
    }
    whole = {name: split for name, split in splits.items() if split}
    held = tuple(s for s in holds_out if s in lacking and "train" in whole)
    if held:
        found += single_images(classes, whole["train"], source, held, opening)
    for split in held:
        fraction = opening.val_fraction if split == "val" else opening.test_fraction
        whole["train"], whole[split] = hold_out(
            whole["train"], fraction, seed=opening.seed, root=root, groups=groups
        )
    task = ImageTask(
        name=printable(source.stem if source.is_file() else source.resolve().name),
        root=root,
        layout=layout,
        classes=tuple(classes),
        splits={split: whole[split] for split in SPLITS if whole.get(split)},
        groups=groups or {},
        further=further or {},
    )
    taken = tuple(split for split in held if split in task.splits)
    return Reading(task=task, findings=tuple(found), absent=lacking, held_out=taken)


def missing_files(
    paths: Iterable[Path], source: Path, *, remedy: str | None = None
) -> Iterator[Finding]:
    """Images that ``source`` lists and that are not on disk; None: what to do is told from them."""
    # One listing per folder: far fewer calls than one look per file on a network disk.
    names_in: dict[Path, frozenset[str]] = {}
    missing: list[Path] = []
    for path in paths:
        folder = path.parent
        if folder not in names_in:
            names_in[folder] = frozenset(os.listdir(folder) if folder.is_dir() else ())
        # A name such as ".." is in no listing, so what is not listed is looked at itself.
        if path.name not in names_in[folder] and not path.is_file():
            missing.append(path)
    if missing:
        yield spoils(
            "missing-files",
            f"{source} lists {len(missing)} image(s) that are not there,"
            f" {remedy or repair(missing[0])}:"
            f" {examples(missing, most=NAMED)}.",
        )


def repair(path: Path) -> str:
    """What to do about a file that isn't there, told from what is."""
    beside = sorted(os.listdir(path.parent)) if path.parent.is_dir() else []
    if "\\" in str(path):
        return "as their paths are those of Windows, write / in place of \\ and no drive"
    alike = [name for name in beside if class_name(name) == class_name(path.name)]
    alike += [f"{path.name}{end}" for end in IMAGE_SUFFIXES if f"{path.name}{end}" in beside]
    if alike:
        return f"write their names in full, as {alike[0]}"
    return "restore them or take them out of the list"


def shared_images(splits: Mapping[str, Split], source: Path) -> Iterator[Finding]:
    """Images that are in two of train, val and test.

    ``trainval`` holds the images of train and val, so it is compared with test alone.
    """
    for one, other in (("train", "val"), ("train", "test"), ("val", "test"), ("trainval", "test")):
        if one not in splits or other not in splits:
            continue
        known = frozenset(splits[one].paths)
        shared = [path for path in splits[other].paths if path in known]
        if shared:
            yield spoils(
                "overlap",
                f"{source} has {len(shared)} image(s) in both {one} and {other}, keep each in one"
                f" of them: {examples(shared, most=NAMED)}.",
            )


def untrained_classes(classes: Sequence[str], train: Split, source: Path) -> Iterator[Finding]:
    """Classes that have no image to train on."""
    unseen = [repr(name) for label, name in enumerate(classes) if label not in train.seen]
    if unseen:
        yield spoils(
            "class-coverage",
            f"{source} has {len(unseen)} class(es) with no image in train, add images or remove"
            f" the class: {examples(unseen, most=NAMED)}.",
        )


def name_findings(classes: Sequence[str], source: Path, *, from_list: bool) -> Iterator[Finding]:
    """Class names that no file can hold, that are twins, or that stand for a missing value."""
    broken = [name for name in classes if printable(name) != name]
    if broken:
        yield spoils(
            "class-names",
            f"{source} has {len(broken)} class(es) whose names aren't UTF-8, rename them:"
            f" {examples(broken, most=NAMED)}.",
        )
    alike: dict[str, list[str]] = {}
    for name in classes:
        alike.setdefault(_bare(name), []).append(name)
    twins = [" = ".join(map(repr, names)) for names in alike.values() if len(names) > 1]
    if twins:
        yield spoils(
            "twin-classes",
            f"{source} has classes whose names differ in case or spaces alone, or are the same"
            f" number, write each in one way: {examples(twins, most=NAMED)}.",
        )
    missing = [repr(name) for name in classes if name.casefold() in _MISSING_VALUES]
    if missing:
        # A folder may well be called so; in a table it is what programs write.
        yield (spoils if from_list or "" in classes else warning)(
            "missing-labels",
            f"{source} has the class {examples(missing)}, which stands for a missing label: fill"
            " the labels in, or give the class another name.",
        )


def _bare(name: str) -> str:
    """A name without case, spaces and invisible letters; of a number its value: 1.0, 01."""
    letters = class_name(name).casefold()
    seen = "".join(c for c in letters if not c.isspace() and unicodedata.category(c) != "Cf")
    return re.sub(r"^0*([0-9]+)(\.0+)?$", r"\1", seen)


def joint_names(classes: Sequence[str], source: Path) -> Iterator[Finding]:
    """Names that can't be told from several, where an image's labels are written as one text."""
    joint = [repr(name) for name in classes if JOINT in name]
    if joint:
        yield spoils(
            "class-names",
            f"{source} has {len(joint)} class(es) with {JOINT!r} in their names, which stands"
            f" between several labels, rename them: {examples(joint, most=NAMED)}.",
        )


def single_images(
    classes: Sequence[str], pool: Split, source: Path, held: Sequence[str], opening: Opening
) -> Iterator[Finding]:
    """Classes of one image, of which nothing can be held out."""
    shares = {"val": opening.val_fraction, "test": opening.test_fraction}
    if not any(shares[split] for split in held):
        return
    count = Counter(label for labels in pool.label_sets for label in labels)
    alone = [repr(name) for label, name in enumerate(classes) if count[label] == 1]
    if alone and len(alone) == len(count) and "test" in held:
        yield spoils(
            "single-images",
            f"{source} has one image of each of its {len(alone)} classes, so that nothing can be"
            " held out to measure on: is that the right column or level of folders? Give more"
            " images of a class, or a split of tests.",
        )
    elif alone:
        yield warning(
            "single-images",
            f"{len(alone)} of {len(classes)} classes have one image, of which none can be held out"
            f" as {' or '.join(held)}: {examples(alone)}.",
        )


def shared_groups(
    splits: Mapping[str, Split], groups: Mapping[Path, str], source: Path
) -> Iterator[Finding]:
    """Groups that the lists themselves put into two splits."""
    names = {s: {groups[p] for p in split.paths if p in groups} for s, split in splits.items()}
    for one, other in (("train", "test"), ("val", "test"), ("trainval", "test"), ("train", "val")):
        shared = sorted(names.get(one, set()) & names.get(other, set()))
        if shared:
            yield (spoils if other == "test" else warning)(
                "shared-groups",
                f"{source} has {len(shared):,} group(s) in both {one} and {other}, move each into"
                f" one of them: {examples(shared)}.",
            )


def _groups_of_paths(
    splits: Mapping[str, Split], opening: Opening, root: Path
) -> tuple[dict[Path, str], list[Finding]]:
    """The group of each image whose path tells it, and what is wrong where one doesn't."""
    paths = dict.fromkeys(path for split in splits.values() for path in split.paths)
    found = {path: opening.group_of(path, root) for path in paths}
    lacking = [path for path, group in found.items() if group is None]
    groups = {path: group for path, group in found.items() if group is not None}
    if not lacking:
        return groups, []
    text = f"group_pattern {opening.group_pattern!r} isn't in {len(lacking):,} path(s):"
    return groups, [spoils("groups", f"{text} {examples(lacking)}.")]
