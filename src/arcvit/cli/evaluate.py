"""``arcvit evaluate``: accuracy of what was trained, on its own data or on others."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from arcvit.cli.parser import apart_from_data, command_parser
from arcvit.cli.trained import add_trained
from arcvit.core.files import to_json
from arcvit.core.launch import processes, rank
from arcvit.core.metric import group_text, metric_texts

if TYPE_CHECKING:
    from arcvit.recipe.measure import Measurement


def run(argv: list[str]) -> int:
    """Print the accuracy on a split of the run's data, or on other data."""
    parser = command_parser(
        "evaluate",
        "Accuracy of a trained run, or of an adapter, on a split. Takes the flags --data.* of"
        " arcvit train; --data.path names other images than those of the run, whose classes go by"
        " name.",
    )
    add_trained(parser)
    parser.add_argument(
        "--split",
        help="train, val, test or all; default: test, and all images of what isn't the run's own.",
    )
    parser.add_argument(
        "--ignore_unknown",
        action="store_true",
        help="Leave out images of classes that the model doesn't know; where an image has several"
        " labels, those that have any such label.",
    )
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    own, flags = apart_from_data(argv)
    options = parser.parse_args(own)

    from arcvit.recipe.classifier import load
    from arcvit.recipe.parser import data_flags

    classifier = load(
        options.run,
        device="auto" if processes() == 1 else "cpu",  # each process has a device of its own
        backbone=options.backbone,
        force=options.force,
    )
    measured = classifier.evaluate(
        split=options.split, ignore_unknown=options.ignore_unknown, **data_flags(flags)
    )
    if rank() == 0:
        print(
            to_json(asdict(measured))
            if options.json
            else _sentence(measured, len(classifier.labels))
        )
    return 0


def _sentence(measured: "Measurement", classes: int) -> str:
    main, *further = metric_texts(measured.metrics)
    line = f"{measured.split} {main} on {measured.images} images"
    if measured.classes < classes:
        line += f" of {measured.classes} of the {classes} classes"
    if measured.majority_share is not None:
        further.append(f"most frequent class {measured.majority_share:.1%}")
    line += f" ({', '.join(further)})"
    if measured.groups is not None:
        line += f", {group_text(measured.group_accuracy, measured.groups)}"
    known = measured.trained_on
    line += f"; {'it is not known how many' if known is None else known} of them were trained on"
    if measured.left_out:
        those = "of unknown classes" if "accuracy" in measured.metrics else "with an unknown label"
        line += f"; {measured.left_out} images {those} are left out"
    if measured.unreadable:
        line += f"; {measured.unreadable} unreadable images are left out"
    return line
