"""``arcvit predict``: class names for images."""

import csv
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from arcvit.cli.image_paths import STDIN, add_images, arriving_names, given_names
from arcvit.cli.outputs import spare
from arcvit.cli.parser import command_parser
from arcvit.cli.trained import add_trained
from arcvit.core.errors import UserError
from arcvit.core.files import to_json
from arcvit.core.shown import csv_cell, plain

if TYPE_CHECKING:
    from arcvit.recipe.prediction import Prediction

Show = Callable[["Prediction"], None]


def run(argv: list[str]) -> int:
    """Print the most probable classes of each image as they come; 1 where some can't be read."""
    parser = command_parser(
        "predict",
        "Class names for images, from a run or an adapter; with several labels an image those that"
        " reach their thresholds, which may be none. Images that can't be read are told of on"
        " standard error and keep their line in JSON and tables; the others go on. The exit code"
        " is then 1, and 2 where no image can be read.",
    )
    add_trained(parser)
    add_images(parser)
    parser.add_argument("--top", type=int, default=5, help="Classes shown an image (default: 5).")
    known = parser.add_mutually_exclusive_group()
    known.add_argument(
        "--unknown",
        action="store_true",
        help="Call images unknown that are like none of the classes; the run needs validation"
        " images for that.",
    )
    known.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help="Call images unknown whose label has a lower probability than this; with several"
        " labels an image, give it those of at least this, in place of each label's own threshold.",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="Print one JSON object an image.")
    form.add_argument("--csv", metavar="FILE", help="Write a table; - for standard output.")
    options = parser.parse_intermixed_args(argv)  # images may follow options
    if options.top < 1:
        raise UserError(f"--top {options.top} shows nothing: expected at least 1.")
    spare([*options.images, options.list], csv=options.csv)
    names = given_names(options)

    from arcvit.recipe.classifier import load

    classifier = load(options.run, backbone=options.backbone, force=options.force)
    if options.unknown and classifier.calibration is None:
        raise UserError(
            f"{options.run} can't tell what is unknown: it was trained without validation images."
            " --threshold P tells by the probability; or train again with validation images."
        )
    top = min(options.top, len(classifier.labels))
    several = classifier.is_multilabel
    rejects = options.unknown or (options.threshold is not None and not several)
    # What it refuses, before a table is begun.
    classifier.stream([], top, threshold=options.threshold)
    good = bad = 0
    with _form(options.csv, top, as_json=options.json, rejects=rejects, several=several) as show:
        for arrived in arriving_names(names):
            for prediction in classifier.stream(arrived, top, threshold=options.threshold):
                if prediction.error is not None:
                    bad += 1
                    _say(f"{prediction.path}: {prediction.error}")
                else:
                    good += 1
                if prediction.blank:
                    _say(f"warning: {prediction.path} is blank, nothing is to be seen on it")
                show(prediction)
    if not good:
        raise UserError("no image can be read of what was given.")
    return 1 if bad else 0


@contextmanager
def _form(
    table: str | None, top: int, *, as_json: bool, rejects: bool, several: bool
) -> Iterator[Show]:
    """What shows a prediction: lines of text, of JSON or of a table."""
    if table is None:
        yield _print_json if as_json else partial(_print_text, rejects=rejects, several=several)
        return
    if table == STDIN:
        yield _table(sys.stdout, top, several=several)
        return
    try:
        with Path(table).open("a"):
            pass
    except OSError as error:
        raise UserError(f"--csv {table!r} can't be written: {error.strerror}.") from error
    with open(table, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        yield _table(file, top, several=several)


def _table(stream: TextIO, top: int, *, several: bool) -> Show:
    from arcvit.recipe.prediction import columns

    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns(top, multilabel=several))

    def show(prediction: "Prediction") -> None:
        writer.writerow(map(csv_cell, prediction.row(top, multilabel=several)))
        stream.flush()

    return show


def _print_json(prediction: "Prediction") -> None:
    print(to_json(prediction.record), flush=True)


def _print_text(prediction: "Prediction", *, rejects: bool, several: bool) -> None:
    if prediction.error is not None:
        return
    ranked = [f"{plain(label)} {value:.1%}" for label, value in prediction.top]
    if several and not prediction.labels:
        shown = f"no label (likeliest: {ranked[0]})"
    elif several:
        sure = {label: text for (label, _), text in zip(prediction.top, ranked, strict=True)}
        shown = "  ".join(sure.get(label, plain(label)) for label in prediction.labels)
    else:
        shown = "  ".join(ranked)
    if rejects and not prediction.known:
        shown = f"unknown (nearest: {plain(prediction.label)})"
    print(f"{plain(prediction.path)}  {shown}", flush=True)


def _say(line: str) -> None:
    print(f"arcvit: {plain(line)}", file=sys.stderr, flush=True)
