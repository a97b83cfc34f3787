"""Iterative stratification: divide images of several labels so that every part has its share.

Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-label Data", ECML PKDD 2011,
algorithm 1: labels are taken from the rarest on, and each image goes to the part that lacks its
label most. Here what is dealt may be a group of images, which stays together, and to have no label
counts as a label of its own.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

NO_LABEL = -1
"""Stands for the label of images that have none."""

LabelSets = Sequence[tuple[int, ...]]


def label_counts(label_sets: LabelSets) -> "Counter[int]":
    """How many images have each label, and none."""
    return Counter(label for labels in label_sets for label in labels or (NO_LABEL,))


def stratify(
    units: Sequence[LabelSets], shares: Sequence[float], *, keeps_all: bool = False
) -> list[int]:
    """The part that each unit comes into.

    Args:
        units: for each the labels of its images, which stay together, in the order of a draw.
        shares: of each part; they sum to 1.
        keeps_all: whether no label, and never all images without one, may leave the first part.
    """
    counts = [label_counts(unit) for unit in units]
    whole = label_counts([labels for unit in units for labels in unit])
    left, first_can_have = Counter(whole), Counter(whole)
    lacks = [{label: share * n for label, n in whole.items()} for share in shares]
    room = [share * sum(map(len, units)) for share in shares]
    having = defaultdict(list)
    for unit, labels in enumerate(counts):
        for label in labels:
            having[label].append(unit)
    part_of: dict[int, int] = {}
    while left:
        rarest = min(left, key=lambda label: (left[label], label))
        for unit in having[rarest]:
            if unit in part_of:
                continue
            own = counts[unit]
            spared = not keeps_all or all(first_can_have[label] > n for label, n in own.items())
            parts = range(len(shares) if spared else 1)
            best = max(parts, key=lambda part: (lacks[part][rarest], room[part], -part))
            part_of[unit] = best
            room[best] -= len(units[unit])
            left.subtract(own)
            if best:
                first_can_have.subtract(own)
            for label, n in own.items():
                lacks[best][label] -= n
        del left[rarest]
    return [part_of[unit] for unit in range(len(units))]
