"""How well a trained classifier tells photos that it can't know, by score; and its calibration.

    python benchmarks/unknown.py --data ../shared/data --work /tmp/unknown --methods linear,arc

Each task (groceries, drawn shapes, CIFAR-100) is learned on three quarters of its classes, by the
bundled backbone unless told otherwise. Unknown are the test images of the classes left out, and
those of the other two tasks. For each score: AUROC, known against unknown test images, and the
share of the unknown that is rejected where the threshold keeps 95 % of the validation images; how
many known test images that threshold keeps is told beside. Expected calibration error (15 bins) is
that of the known test images, before and after the temperature that the validation images choose.
The features are kept in --work, so that another score takes seconds.
"""

import argparse
import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import arcvit
from arcvit.core.console import PlainConsole
from arcvit.data.readers.layouts import open_task
from arcvit.engine.calibration import temperature
from arcvit.pages.scores import calibration_error

TASKS = {
    "grocery": "grocery",
    "shapes": "fgvc/HandDrawnShapes",
    "cifar": "vtab-1k/cifar",
}
MOST = {"train": 12, "val": 4, "test": 8}
"""Images of a class at most, so that the whole takes minutes on two cores."""
FEW_CLASSES = {"train": 100, "val": 50, "test": 100}
"""The same of a task of few classes."""


def main() -> None:
    """Learn, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, required=True, help="Where runs and features go.")
    parser.add_argument("--methods", default="linear,arc")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--backbone", default="demo")
    parser.add_argument("--out", type=Path, help="Write the table as JSON.")
    options = parser.parse_args()
    tables = {name: table_of(options, name) for name in TASKS}
    rows, errors = [], []
    for method in options.methods.split(","):
        for name in TASKS:
            sets = features(options, method, name, tables)
            rows += measured(method, name, sets)
            errors.append(calibration(name, method, sets))
    show(rows)
    print("\nexpected calibration error on the test images, before and after the temperature")
    for row in errors:
        print(
            "{task} {method}: {before:.3f} {after:.3f}, temperature {temperature:.2f}, ".format(
                **row
            )
            + "accuracy {accuracy:.3f}".format(**row)
        )
    if options.out:
        record = {"unknown": rows, "calibration": errors}
        options.out.write_text(json.dumps(record, indent=1) + "\n")


def table_of(options: argparse.Namespace, name: str) -> Path:
    """A task as a table of three quarters of its classes; those left out are of the split out."""
    file = options.work / f"{name}.csv"
    if file.is_file():
        return file
    task = open_task(options.data / TASKS[name])
    classes = list(task.classes)
    # Evenly over the alphabet: neighbours in it are often alike.
    left_out = set(classes[3::4])
    most = FEW_CLASSES if len(classes) < 10 else MOST
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "label", "split"])
        for split in ("train", "val", "test"):
            taken: Counter[str] = Counter()
            for path, label in task.split(split):
                label_name = classes[label]
                out = label_name in left_out
                taken[label_name] += 1
                if taken[label_name] <= most[split] and (not out or split == "test"):
                    writer.writerow([path.resolve(), label_name, "out" if out else split])
    return file


def images(table: Path, split: str) -> list[tuple[str, str]]:
    """Path and label of a split's images."""
    with table.open(newline="") as stream:
        return [(r["path"], r["label"]) for r in csv.DictReader(stream) if r["split"] == split]


def features(
    options: argparse.Namespace, method: str, name: str, tables: dict[str, Path]
) -> dict[str, dict[str, Tensor]]:
    """Features, logits and labels of every set of images, by the model of a task."""
    folder = options.work / f"{name}-{method}"
    kept = folder.with_suffix(".pt")
    if kept.is_file():
        return torch.load(kept, weights_only=True)
    if not folder.is_dir():
        known = options.work / f"{name}-known.csv"
        lines = tables[name].read_text().splitlines(keepends=True)
        known.write_text("".join(line for line in lines if not line.rstrip().endswith(",out")))
        arcvit.train(
            known,
            out=folder,
            backbone=options.backbone,
            method=method,
            engine={"epochs": options.epochs},
            data={"check": "warn"},
        )
    classifier = arcvit.load(folder)
    wanted = {split: images(tables[name], split) for split in ("train", "val", "test", "out")}
    others = [other for other in TASKS if other != name]
    wanted |= {other: images(tables[other], "test")[:400] for other in others}
    sets = {}
    for which, pairs in wanted.items():
        seen = torch.from_numpy(classifier.embed([path for path, _ in pairs]))
        head = classifier.model.get_base_model().get_submodule(classifier.loaded.task.head)
        with torch.inference_mode():
            logits = head(seen.to(classifier.device)).cpu()
        index = {label: row for row, label in enumerate(classifier.labels)}
        labels = torch.tensor([index.get(label, -1) for _, label in pairs])
        sets[which] = {"features": seen, "logits": logits.clone(), "labels": labels}
        PlainConsole().print(f"{name} {method} {which}: {len(pairs)}")
    torch.save(sets, kept)
    return sets


def scores(sets: dict[str, dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    """Every score of every set; higher where an image is more like what was learned."""
    train = sets["train"]
    classes = int(train["labels"].max()) + 1
    one_hot = torch.nn.functional.one_hot(train["labels"], classes).float()
    means = (one_hot.T @ train["features"]) / one_hot.sum(0)[:, None]
    centre = train["features"].mean(0)
    residual = train["features"] - means[train["labels"]]
    covariance = residual.T @ residual / len(residual)
    shrunk = covariance + 0.1 * covariance.diagonal().mean() * torch.eye(len(covariance))
    whiten = torch.linalg.cholesky(torch.linalg.inv(shrunk))
    unit = torch.nn.functional.normalize

    def of(part: dict[str, Tensor]) -> dict[str, Tensor]:
        x, z = part["features"], part["logits"]
        cosine = unit(x) @ unit(means).T
        centred = unit(x - centre) @ unit(means - centre).T
        return {
            "max probability": z.softmax(-1).amax(-1),
            "max logit": z.amax(-1),
            "energy": z.logsumexp(-1),
            "cosine": cosine.amax(-1),
            "cosine of predicted": cosine.gather(1, z.argmax(-1, keepdim=True))[:, 0],
            "cosine, centred": centred.amax(-1),
            "cosine, whitened": (
                unit((x - centre) @ whiten) @ unit((means - centre) @ whiten).T
            ).amax(-1),
            "Mahalanobis": -torch.cdist(x @ whiten, means @ whiten).amin(-1),
            "kNN (k = 5)": (unit(x) @ unit(train["features"]).T).topk(5).values[:, -1],
            "kNN (k = 1)": (unit(x) @ unit(train["features"]).T).amax(-1),
        }

    return {which: of(part) for which, part in sets.items()}


def auroc(known: Tensor, unknown: Tensor) -> float:
    """Share of pairs in which the known image has the higher score; ties count half."""
    pairs = known.double()[:, None] - unknown.double()[None]
    return float(((pairs > 0).double() + (pairs == 0).double() / 2).mean())


def measured(method: str, name: str, sets: dict[str, dict[str, Tensor]]) -> list[dict]:
    """A row for every score."""
    rows = []
    found = scores(sets)
    unknown = [which for which in sets if which not in ("train", "val", "test")]
    for score in found["val"]:
        threshold = torch.quantile(found["val"][score].double(), 0.05, interpolation="lower")
        row = {"method": method, "task": name, "score": score}
        row["kept"] = float((found["test"][score] >= threshold).double().mean())
        for which in unknown:
            row[which] = {
                "auroc": auroc(found["test"][score], found[which][score]),
                "rejected": float((found[which][score] < threshold).double().mean()),
            }
        rows.append(row)
    return rows


def calibration(name: str, method: str, sets: dict[str, dict[str, Tensor]]) -> dict:
    """Expected calibration error on the known test images, before and after the temperature."""
    val, test = sets["val"], sets["test"]
    found = temperature(val["logits"], val["labels"])
    errors = []
    for divisor in (1, found):
        sure, best = (test["logits"] / divisor).softmax(-1).max(-1)
        errors.append(calibration_error(sure.numpy(), (best == test["labels"]).numpy()))
    accuracy = float((test["logits"].argmax(-1) == test["labels"]).double().mean())
    return {"task": name, "method": method, "accuracy": accuracy, "temperature": found} | dict(
        zip(("before", "after"), errors, strict=True)
    )


def show(rows: list[dict]) -> None:
    """Rejection and AUROC by score: every pair of task and unknown images, and the means."""
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        print(f"\n{method}: share rejected where 95 % of validation is kept (AUROC)")
        for score in dict.fromkeys(row["score"] for row in own):
            of = {row["task"]: row for row in own if row["score"] == score}
            cells, groups = [], {"left out": [], "other tasks": []}
            for task, row in of.items():
                for which in (key for key, cell in row.items() if isinstance(cell, dict)):
                    pair = row[which]["rejected"], row[which]["auroc"]
                    groups["left out" if which == "out" else "other tasks"].append(pair)
                    cells.append(f"{task}/{which} {pair[0]:.2f} ({pair[1]:.2f})")
            means = {name: np.mean(pairs, axis=0) for name, pairs in groups.items()}
            mean = "  ".join(f"{name} {m[0]:.2f} ({m[1]:.2f})" for name, m in means.items())
            kept = np.mean([row["kept"] for row in of.values()])
            print(f"{score:20} {mean}  keeps {kept:.2f} | {'  '.join(cells)}")


if __name__ == "__main__":
    main()
