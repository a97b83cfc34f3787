"""``arcvit evaluate``: accuracy of a trained run on a split."""

import dataclasses
import json
from pathlib import Path

from arcvit.cli.parser import apart_from_data, command_parser
from arcvit.core.errors import UserError


def run(argv: list[str]) -> int:
    """Print the accuracy of a run on a split of its own data, or of other data."""
    parser = command_parser(
        "evaluate",
        "Accuracy of a trained run on a split. Takes the flags --data.* of arcvit train;"
        " --data.path names other images than those of the run.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="A run folder.")
    parser.add_argument("--split", default="test", help="train, val or test (default: test).")
    parser.add_argument("--backbone", help="Where the backbone lies now, if it has moved.")
    parser.add_argument("--force", action="store_true", help="Allow another backbone's weights.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    own, flags = apart_from_data(argv)
    options = parser.parse_args(own)

    from arcvit.data.pixels.augment import ToInput
    from arcvit.engine.by_group import accuracy_by_group
    from arcvit.engine.class_token import class_token_alone
    from arcvit.engine.device import make_accelerator
    from arcvit.engine.evaluate import evaluate, majority_share
    from arcvit.recipe.images import decode_split
    from arcvit.recipe.load import load_run
    from arcvit.recipe.parser import data_flags
    from arcvit.recipe.prepare import open_recipe_task

    loaded = load_run(options.run, backbone=options.backbone, force=options.force)
    recipe = loaded.recipe
    given = data_flags(flags)
    for name in ("preset", "augment", "fit_on"):
        if given.get(name, getattr(recipe.data, name)) != getattr(recipe.data, name):
            raise UserError(
                f"--data.{name} is the run's own, {getattr(recipe.data, name)}: leave it out."
            )
    recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, **given))
    prep = loaded.preprocessing
    how = dataclasses.asdict(recipe.data.decoding())
    asked = {name: how[name] for name in ("orientation", "max_pixels") if name in given}
    prep = dataclasses.replace(prep, **asked)
    task = open_recipe_task(recipe)
    if list(task.classes) != loaded.labels:
        differing = sorted(set(task.classes) ^ set(loaded.labels))
        raise UserError(
            f"{task.name!r} has other classes than the run ({len(task.classes)} and"
            f" {len(loaded.labels)}, differing in {', '.join(differing[:5])}): give data with"
            " the run's classes."
        )
    images = decode_split(task.split(options.split), prep, recipe.data)
    accelerator = make_accelerator(recipe.engine, recipe.seed)
    with class_token_alone(loaded.model):
        outcome = evaluate(
            loaded.model.to(accelerator.device),
            images,
            ToInput.of(prep).to(accelerator.device).eval(),
            accelerator,
            keep_probabilities=bool(task.groups),
        )
    majority, groups = majority_share(outcome.labels), accuracy_by_group(outcome, task, images)
    if options.json:
        record = {"split": options.split, "images": len(images), "accuracy": outcome.accuracy}
        record |= {"balanced_accuracy": outcome.balanced_accuracy, "majority_share": majority}
        if groups is not None:
            record |= {"group_accuracy": groups[0], "groups": groups[1]}
        print(json.dumps({**record, "loss": outcome.loss}))
    else:
        line = f"{options.split} accuracy {outcome.accuracy:.1%} on {len(images)} images"
        line += f" (balanced {outcome.balanced_accuracy:.1%}, most frequent class {majority:.1%})"
        if groups is not None:
            line += f", {groups[0]:.1%} of {groups[1]} groups"
        print(line)
    return 0
