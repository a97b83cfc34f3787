"""The VTAB-1k layout: ``train800.txt``, ``val200.txt``, ``train800val200.txt``, ``test.txt``.

The layout that NOAH's script writes and that SSF, FacT, RepAdapter, ARC and V-PETL Bench read. One
line an image, ``images/train800/000000.jpg 307``.
"""

from pathlib import Path

from arcvit.core.errors import UserError
from arcvit.data.findings import Finding, spoils
from arcvit.data.readers.finish import finish
from arcvit.data.readers.lists import is_label, list_findings, read_names, read_text
from arcvit.data.readers.reader import Opening, Reading
from arcvit.data.task import Split

LIST_OF_SPLIT = {
    "train": "train800.txt",
    "val": "val200.txt",
    "trainval": "train800val200.txt",
    "test": "test.txt",
}


def recognises(path: Path) -> bool:
    """Whether a folder has one of the lists that no other layout has."""
    names = (LIST_OF_SPLIT[split] for split in ("train", "val", "trainval"))
    return any((path / name).is_file() for name in names)


def read(path: Path, opening: Opening) -> Reading:
    """Read a task of VTAB-1k.

    ``trainval`` is its own list with its own copies of the images. A class may be missing from
    train: 800 images drawn at random from 397 classes don't cover all of them. There are as many
    classes as the largest label of all lists says; names are the labels, or the lines of
    ``classes.txt`` if the folder has one.
    """
    findings: list[Finding] = []
    absent, splits, lists = {}, {}, {}
    for split, name in LIST_OF_SPLIT.items():
        if (path / name).is_file():
            lists[split] = path / name
            splits[split], wrong = _read_list(path / name)
            findings += wrong
        elif split != "train":
            absent[split] = f"{name} is not there"
        else:
            text = f"{path} has no {name}: expected the lists {', '.join(LIST_OF_SPLIT.values())}"
            findings.append(spoils("absent-split", f"{text} of the VTAB-1k layout."))

    used = {label for images in splits.values() for label in images.labels}
    # A stray label of millions is told as such, and doesn't make millions of classes.
    sane = {label for label in used if label < 2 * len(used)}
    if sane != used:
        text = f"{path} has the label {max(used)} but only {len(used)} different labels: expected"
        findings.append(spoils("sparse-labels", f"{text} class indices that count from 0."))
    count = max(sane, default=-1) + 1
    classes = tuple(map(str, range(count)))
    file = path / "classes.txt"
    if file.is_file():
        classes = read_names(file)
        if len(classes) < count or len(frozenset(classes)) != len(classes):
            text = f"{file} has {len(classes)} name(s): expected {count} different ones, one"
            findings.append(spoils("class-names", f"{text} a line in label order."))
    return finish(
        path,
        opening,
        layout="vtab",
        root=path,
        classes=classes,
        splits=splits,
        lists=lists,
        holds_out=(),
        absent=absent,
        findings=findings,
        covers_classes=False,
    )


def _read_list(path: Path) -> tuple[Split, list[Finding]]:
    """The images of the lines that are right, and what is wrong with the others."""
    try:
        lines = read_text(path).splitlines()
    except UserError as error:
        return Split.of(()), [spoils("malformed-list", str(error))]
    line_of: dict[str, int] = {}
    labels, mistakes, repeats = [], [], []
    for number, line in enumerate(lines, start=1):
        words = line.rsplit(maxsplit=1)
        if not words:
            continue
        if len(words) != 2 or not is_label(words[1]):
            text = f"line {number} is {line!r}: expected '<image> <label>' with a whole number"
            mistakes.append(f"{text} as label")
            continue
        name, label = words
        if name in line_of:
            text = f"lists {name} in lines {line_of[name]} and {number}: expected each image once"
            repeats.append(f"{text}, remove one")
            continue
        line_of[name] = number
        labels.append(int(label))
    if not labels and not mistakes:
        mistakes.append("is empty: expected a line '<image> <label>' for each image")
    found = Split.of((path.parent / name, n) for name, n in zip(line_of, labels, strict=True))
    return found, list_findings(path, mistakes=mistakes, repeats=repeats)
