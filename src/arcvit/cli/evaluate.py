"""``arcvit evaluate``: accuracy of what was trained, on its own data or on others."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arcvit.cli.parser import apart_from_data, command_parser
from arcvit.core.errors import UserError
from arcvit.core.files import to_json

if TYPE_CHECKING:
    from arcvit.data.config import DataConfig
    from arcvit.recipe.adapter import LoadedAdapter

_FIXED = ("preset", "augment", "fit_on")


def run(argv: list[str]) -> int:
    """Print the accuracy on a split of the run's data, or on other data."""
    parser = command_parser(
        "evaluate",
        "Accuracy of a trained run, or of an adapter, on a split. Takes the flags --data.* of"
        " arcvit train; --data.path names other images than those of the run, whose classes go by"
        " name.",
    )
    parser.add_argument("run", type=Path, metavar="RUN|ADAPTER", help="A run or adapter folder.")
    parser.add_argument(
        "--split",
        help="train, val, test or all; default: test, and all images of what isn't the run's own.",
    )
    parser.add_argument(
        "--ignore_unknown",
        action="store_true",
        help="Leave out images of classes that the model doesn't know.",
    )
    parser.add_argument("--backbone", help="Where the backbone lies now, if it has moved.")
    parser.add_argument("--force", action="store_true", help="Allow another backbone's weights.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    own, flags = apart_from_data(argv)
    options = parser.parse_args(own)

    from arcvit.data.contents import content_hashes
    from arcvit.data.pixels.augment import ToInput
    from arcvit.engine.by_group import accuracy_by_group
    from arcvit.engine.class_token import class_token_alone
    from arcvit.engine.config import EngineConfig
    from arcvit.engine.device import make_accelerator
    from arcvit.engine.evaluate import evaluate, majority_share
    from arcvit.recipe.images import decode_split
    from arcvit.recipe.load import LoadedRun, load_trained
    from arcvit.recipe.measured import ALL, open_measured
    from arcvit.recipe.parser import data_flags
    from arcvit.recipe.resume import trained_on
    from arcvit.recipe.run import Run

    loaded = load_trained(options.run, backbone=options.backbone, force=options.force)
    if loaded.task.kind != "single":
        raise UserError("the adapter gives an image several labels, and accuracy is of one.")
    given = data_flags(flags)
    data, is_own = _data(loaded, given)
    prep = loaded.preprocessing
    how = dataclasses.asdict(data.decoding())
    asked = {name: how[name] for name in ("orientation", "max_pixels") if name in given}
    prep = dataclasses.replace(prep, **asked)
    split = options.split or ("test" if is_own else ALL)
    measured = open_measured(data, loaded.labels, split, ignore_unknown=options.ignore_unknown)
    images = decode_split(measured.split, prep, data)
    recipe = loaded.recipe if isinstance(loaded, LoadedRun) else None
    accelerator = (
        make_accelerator(EngineConfig(), 0)
        if recipe is None
        else make_accelerator(
            recipe.engine,
            recipe.seed,
            backbone=recipe.backbone,
            image_size=recipe.image_size,
        )
    )
    with class_token_alone(loaded.model):
        outcome = evaluate(
            loaded.model.to(accelerator.device),
            images,
            ToInput.of(prep).to(accelerator.device).eval(),
            accelerator,
            keep_probabilities=bool(measured.task.groups),
        )
    if not accelerator.is_main_process:
        return 0
    known = None if recipe is None else trained_on(Run(recipe, options.run))
    record: dict[str, Any] = {
        "split": split,
        "images": len(images),
        "classes": len(set(measured.split.labels)),
        "accuracy": outcome.accuracy,
        "balanced_accuracy": outcome.balanced_accuracy,
        "majority_share": majority_share(outcome.labels),
        "loss": outcome.loss,
        "trained_on": known and sum(c in known for c in content_hashes(images.paths)),
        "left_out": measured.left_out,
        "unreadable": len(images.skipped),
    }
    groups = accuracy_by_group(outcome, measured.task, images)
    if groups is not None:
        record |= {"group_accuracy": groups[0], "groups": groups[1]}
    print(to_json(record) if options.json else _sentence(record, len(loaded.labels)))
    return 0


def _data(loaded: "LoadedAdapter", given: dict[str, Any]) -> "tuple[DataConfig, bool]":
    """The images to measure on, and whether they are those that the run was trained on."""
    from arcvit.data.config import DataConfig
    from arcvit.recipe.load import LoadedRun

    if not isinstance(loaded, LoadedRun):
        if "path" not in given:
            raise UserError("an adapter alone has no images: name some with --data.path.")
        fixed = next((name for name in _FIXED if name in given), None)
        if fixed is not None:
            raise UserError(f"--data.{fixed} is the adapter's own: leave it out.")
        return DataConfig(**given), False
    own = loaded.recipe.data
    for name in _FIXED:
        if given.get(name, getattr(own, name)) != getattr(own, name):
            raise UserError(f"--data.{name} is the run's own, {getattr(own, name)}: leave it out.")
    data = dataclasses.replace(own, **given)
    one, other = (Path(path).expanduser().resolve() for path in (data.path, own.path))
    return data, one == other


def _sentence(record: dict[str, Any], classes: int) -> str:
    line = f"{record['split']} accuracy {record['accuracy']:.1%} on {record['images']} images"
    if record["classes"] < classes:
        line += f" of {record['classes']} of the {classes} classes"
    line += f" (balanced {record['balanced_accuracy']:.1%}, most frequent class"
    line += f" {record['majority_share']:.1%})"
    if "groups" in record:
        line += f", {record['group_accuracy']:.1%} of {record['groups']} groups"
    known = record["trained_on"]
    line += f"; {'it is not known how many' if known is None else known} of them were trained on"
    if record["left_out"]:
        line += f"; {record['left_out']} images of unknown classes are left out"
    if record["unreadable"]:
        line += f"; {record['unreadable']} unreadable images are left out"
    return line
