"""Checks of a task whose images have any number of labels."""

from collections import Counter
from collections.abc import Sequence

from arcvit.data.findings import Finding, examples, note, warning
from arcvit.data.task import ImageTask, Split

FEW_IMAGES = 5
"""Fewer of a class to choose a threshold by are luck."""
_MANY_WITHOUT = 0.5
"""Share of images without a label from which labels may be missing."""


def multilabel_findings(task: ImageTask) -> list[Finding]:
    """What is to be known, or may be wrong, where images have several labels."""
    if task.kind != "multilabel" or not task.splits.get("train"):
        return []
    train = task.splits["train"]
    return [
        *_without_labels(train),
        *_always_on(task, train),
        *_inseparable(task),
        *_few_to_validate_on(task),
        *_one_each(task),
        _how_many(task, train),
    ]


def class_counts(task: ImageTask) -> dict[str, dict[str, int]]:
    """For each class its images in each split."""
    counts = {
        split: Counter(label for labels in images.label_sets for label in labels)
        for split, images in task.splits.items()
    }
    return {
        name: {split: found[label] for split, found in counts.items()}
        for label, name in enumerate(task.classes)
    }


def _how_many(task: ImageTask, train: Split) -> Finding:
    sizes = [len(labels) for labels in train.label_sets]
    mean = sum(sizes) / len(sizes)
    alike = Counter(train.label_sets).most_common(1)[0]
    text = f"a training image has {mean:.2f} of {len(task.classes)} labels on average, {max(sizes)}"
    text += f" at most, in {len(set(train.label_sets)):,} combinations, of which the most frequent"
    return note("labels", f"{text} is {_named(task, alike[0])} ({alike[1]:,} images).")


def _one_each(task: ImageTask) -> list[Finding]:
    if max(map(len, task.every().label_sets)) > 1:
        return []
    text = "no image has more than one label: if some do, say what stands between those in a cell"
    return [warning("one-label", f"{text} with --data.label_delimiter.")]


def _without_labels(train: Split) -> list[Finding]:
    without = [path.name for path, labels in train.with_sets() if not labels]
    if not without:
        return []
    text = f"{len(without):,} of {len(train):,} training images have no label"
    text += f" ({examples(without)}): they are learned as images of no class"
    if len(without) < _MANY_WITHOUT * len(train):
        return [note("unlabelled", f"{text}.")]
    return [warning("unlabelled", f"{text}; leave out those that nobody has labelled.")]


def _always_on(task: ImageTask, train: Split) -> list[Finding]:
    always = set(train.label_sets[0]).intersection(*train.label_sets)
    names = [repr(task.classes[label]) for label in sorted(always)]
    if not names:
        return []
    text = f"every training image is of {examples(names)}, so that nothing can be learned of it:"
    return [warning("always-on", f"{text} add images without it, or remove the class.")]


def _inseparable(task: ImageTask) -> list[Finding]:
    """Classes that are on the same images everywhere."""
    images: dict[int, list[int]] = {}
    for row, (_, labels) in enumerate(task.every().with_sets()):
        for label in labels:
            images.setdefault(label, []).append(row)
    together: dict[tuple[int, ...], list[str]] = {}
    for label, rows in sorted(images.items()):
        together.setdefault(tuple(rows), []).append(task.classes[label])
    # Two rare classes may well be on the same few images.
    groups = [
        " and ".join(map(repr, names))
        for rows, names in together.items()
        if len(names) > 1 and len(rows) >= FEW_IMAGES
    ]
    if not groups:
        return []
    text = f"some classes always come together, {examples(groups)}: nothing tells them apart, add"
    return [warning("inseparable", f"{text} images of one alone or make them one class.")]


def _few_to_validate_on(task: ImageTask) -> list[Finding]:
    if "val" not in task.splits:
        return []
    counts = class_counts(task)
    few = [f"{name} ({of['val']})" for name, of in counts.items() if 0 < of["val"] < FEW_IMAGES]
    if not few:
        return []
    text = f"{len(few)} of {len(counts)} classes have fewer than {FEW_IMAGES} images in val, by"
    return [note("few-images", f"{text} which their thresholds are chosen: {examples(few)}.")]


def _named(task: ImageTask, labels: Sequence[int]) -> str:
    return repr(task.label_text(labels)) if labels else "none"
