"""Write a multilabel task as a table: PNG files, and a CSV file of their labels."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from PIL import Image

from arcvit.core.errors import UserError
from arcvit.core.files import atomic_path
from arcvit.data.task import JOINT


def write_table(
    folder: Path,
    splits: Mapping[str, Iterable[tuple[Image.Image, Sequence[int]]]],
    *,
    classes: Sequence[str],
    readme: str,
    label_columns: bool,
) -> dict[str, int]:
    """Write a task, whole or not at all.

    Files are ``images/<split>_000000.png`` and a table called as the folder is.

    Args:
        folder: the task's folder, which must not exist yet.
        splits: pictures of each split with the indices of their classes; read once.
        classes: class names.
        readme: text of the task's ``README.md``.
        label_columns: write a column of 0 and 1 for each class, not names in one column.

    Returns:
        The number of images of each split.

    Raises:
        UserError: the folder exists.
    """
    if folder.exists():
        raise UserError(f"{folder} is there already: remove it or choose another --out.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    counts = dict.fromkeys(splits, 0)
    with atomic_path(folder) as partial:
        (partial / "images").mkdir(parents=True)
        with (partial / f"{folder.name}.csv").open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(["path", *(classes if label_columns else ["label"]), "split"])
            for split, images in splits.items():
                for index, (image, labels) in enumerate(images):
                    name = f"images/{split}_{index:06d}.png"
                    image.save(partial / name)
                    flags = [int(label in labels) for label in range(len(classes))]
                    joint = [JOINT.join(classes[label] for label in labels)]
                    rows.writerow([name, *(flags if label_columns else joint), split])
                    counts[split] += 1
        (partial / "README.md").write_text(readme, encoding="utf-8")
    return counts
