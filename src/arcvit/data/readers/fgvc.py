"""The FGVC layout of VPT: ``{train,val,trainval,test}.json``, each ``{"path.jpg": class_id}``."""

import json
from collections.abc import Sequence
from pathlib import Path

from arcvit.core.errors import UserError
from arcvit.core.files import read_json
from arcvit.data.findings import Finding, spoils
from arcvit.data.readers.finish import finish
from arcvit.data.readers.lists import list_findings
from arcvit.data.readers.reader import Opening, Reading
from arcvit.data.task import SPLITS, Split

# VPT reads CUB and NABirds from images/, Dogs from Images/, Cars and Flowers from the root.
IMAGE_FOLDERS = ("", "images", "Images")
NAMES = "class_names.json"
"""Names of classes by number, which VPT's lists lack."""


def recognises(path: Path) -> bool:
    """Whether a folder has one of the lists."""
    return any((path / f"{split}.json").is_file() for split in SPLITS)


def read(path: Path, opening: Opening) -> Reading:
    """Read a task in the layout of VPT (src/data/datasets/json_dataset.py).

    Class ids are any whole numbers. VPT maps those of each split by itself, which shifts labels
    when a class is missing from one. Here one map covers all splits. Images lie in the folder of
    the lists, in ``images`` or in ``Images``. Classes are called by their numbers, or as
    ``class_names.json`` says, which ``arcvit data prepare`` writes.

    Raises:
        UserError: the file of names is damaged.
    """
    findings: list[Finding] = []
    files, listed, absent = {}, {}, {}
    for split in SPLITS:
        file = path / f"{split}.json"
        if file.is_file():
            files[split] = file
            listed[split], wrong = read_list(file)
            findings += wrong
        elif split == "train":
            text = f"{path} has no train.json: expected train.json, val.json and test.json, each"
            findings.append(spoils("absent-split", f'{text} {{"path.jpg": class_id}}.'))
        elif split != "trainval":
            absent[split] = f"{file.name} is not there"

    names = [name for classes in listed.values() for name in classes]
    folders = [path / name for name in IMAGE_FOLDERS]
    # The first folder that holds one of the images; most often that is told by the first image.
    holding = (folder for name in names for folder in folders if (folder / name).is_file())
    images = next(holding, None)
    if images is None and names:
        text = f"the lists of {path} name {len(names):,} image(s), none of which is in"
        text += f" {', '.join(map(str, folders))}: put the images in one of them."
        findings.append(spoils("image-folder", text))
    root = images or path
    ids = sorted({class_id for classes in listed.values() for class_id in classes.values()})
    label_of = {class_id: label for label, class_id in enumerate(ids)}
    splits = {
        split: Split.of((root / name, label_of[class_id]) for name, class_id in classes.items())
        for split, classes in listed.items()
    }
    return finish(
        path,
        opening,
        layout="fgvc",
        root=root,
        classes=_names(path / NAMES, ids),
        splits=splits,
        lists=files,
        absent=absent,
        findings=findings,
    )


def _names(file: Path, ids: Sequence[int]) -> tuple[str, ...]:
    numbers = tuple(map(str, ids))
    if not file.is_file():
        return numbers
    named = read_json(file)
    names = tuple(named.get(number, number) for number in numbers)
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise UserError(f"{file} has the name {wrong[0]!r}: expected texts by class number.")
    return names if len(set(names)) == len(names) else numbers


def read_list(path: Path) -> tuple[dict[str, int], list[Finding]]:
    """The class id of each image that has one, and what is wrong."""
    repeats: list[str] = []

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        # json keeps the last of repeated keys without a word.
        found: dict[str, object] = {}
        for key, value in pairs:
            if key in found:
                repeats.append(f"lists {key!r} twice: expected each image once")
            found.setdefault(key, value)
        return found

    listed: object = None
    try:
        listed = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        mistakes = [f"can't be read as JSON: {error}"]
    else:
        mistakes = ['has no images: expected one object {"path.jpg": class_id}']
    found: dict[str, int] = {}
    if isinstance(listed, dict) and listed:
        found = {name: value for name, value in listed.items() if type(value) is int}
        mistakes = [
            f"gives {name!r} the class {value!r}: expected a whole number"
            for name, value in listed.items()
            if name not in found
        ]
    return found, list_findings(path, mistakes=mistakes, repeats=repeats)
