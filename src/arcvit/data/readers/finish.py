"""The end of every reader: what a task must have, and the splits that are held out.

So a wrong layout is an error and never a wrong accuracy.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from arcvit.data.findings import Finding, examples, spoils
from arcvit.data.readers.holdout import hold_out
from arcvit.data.readers.reader import Opening, Reading
from arcvit.data.task import SPLITS, ImageTask, Split

NAMED = 20
"""As many images or classes are named in a sentence; the others are counted."""


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
    """
    found = list(findings)
    for split, file in (lists or {}).items():
        found += missing_files(splits[split].paths, file)
    found += shared_images(splits, source)
    if len(classes) < 2:
        there = f"only '{classes[0]}'" if classes else "none"
        text = f"{source} has too few classes: expected at least 2, found {there}."
        found.append(spoils("classes", text))
    if covers_classes and "train" in splits:
        found += untrained_classes(classes, splits["train"], source)

    lacking = {
        split: (absent or {}).get(split, f"no image of {source.name} is in the {split} split")
        for split in SPLITS
        if split not in splits and (split in ("val", "test") or split in (absent or {}))
    }
    whole = {name: split for name, split in splits.items() if split}
    held = tuple(s for s in holds_out if s in lacking and "train" in whole)
    for split in held:
        fraction = opening.val_fraction if split == "val" else opening.test_fraction
        whole["train"], whole[split] = hold_out(
            whole["train"], fraction, seed=opening.seed, root=root
        )
    task = ImageTask(
        name=source.stem if source.is_file() else source.resolve().name,
        root=root,
        layout=layout,
        classes=tuple(classes),
        splits={split: whole[split] for split in SPLITS if whole.get(split)},
    )
    return Reading(task=task, findings=tuple(found), absent=lacking, held_out=held)


def missing_files(paths: Iterable[Path], source: Path) -> Iterator[Finding]:
    """Images that ``source`` lists and that are not on disk."""
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
        yield spoils(
            "missing-files",
            f"{source} lists {len(missing)} image(s) that are not there, restore them or take them"
            f" out of the list: {examples(missing, most=NAMED)}.",
        )


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
    seen = frozenset(train.labels)
    unseen = [repr(name) for label, name in enumerate(classes) if label not in seen]
    if unseen:
        yield spoils(
            "class-coverage",
            f"{source} has {len(unseen)} class(es) with no image in train, add images or remove"
            f" the class: {examples(unseen, most=NAMED)}.",
        )
