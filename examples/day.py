"""The day of day.sh in Python: examples/day.py PHOTOS NEW_PHOTOS [OUT] [EPOCHS]."""

import csv
import sys
from pathlib import Path

import arcvit

photos, new = sys.argv[1:3]
out = Path(sys.argv[3] if len(sys.argv) > 3 else "runs/day_in_python")
settings = {"engine": {"epochs": int(sys.argv[4])}} if len(sys.argv) > 4 else {}

first = arcvit.train(photos, out=out / "first", **settings)
second = arcvit.train(photos, out=out / "second", init_from=str(first.folder), **settings)

compared = arcvit.compare(first.folder, second.folder)
for run in compared.runs:
    print(f"{run.run}: {run.value:.1%} ({run.low:.1%} to {run.high:.1%})")
(difference,) = compared.differences
print(f"{len(difference.fixed)} fixed, {len(difference.broken)} broken, p = {difference.p:.2g}")

classifier = arcvit.load(second.folder)
unknown = 0
with open(out / "answers.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["path", "label", "probability", "known", "error"])
    for said in classifier.stream(new):
        unknown += said.known is False  # None: without validation photos it can't tell
        table.writerow([said.path, said.label, said.probability, said.known, said.error])
print(f"{unknown} new photos are like none of the classes")
print(f"features: {classifier.embed(new).shape}")
print(f"on all photos: {classifier.evaluate(photos, split='all').accuracy:.1%}")
classifier.merge()
print(f"folded: {next(classifier.stream(new)).label}")
