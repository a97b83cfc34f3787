"""``arcvit evaluate``: accuracy of a trained run on a split."""

import dataclasses
import json
from pathlib import Path

from arcvit.cli.parser import command_parser
from arcvit.core.errors import UserError


def run(argv: list[str]) -> int:
    """Print the accuracy of a run on a split of its own data, or of other data."""
    parser = command_parser("evaluate", "Accuracy of a trained run on a split.")
    parser.add_argument("run", type=Path, metavar="RUN", help="A run folder.")
    parser.add_argument(
        "--data.path", dest="data_path", help="Other images than those of the run, same classes."
    )
    parser.add_argument("--split", default="test", help="train, val or test (default: test).")
    parser.add_argument("--backbone", help="Where the backbone lies now, if it has moved.")
    parser.add_argument("--force", action="store_true", help="Allow another backbone's weights.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object.")
    options = parser.parse_args(argv)

    from arcvit.data.pixels.augment import ToInput
    from arcvit.engine.class_token import class_token_alone
    from arcvit.engine.device import make_accelerator
    from arcvit.engine.evaluate import evaluate
    from arcvit.recipe.images import decode_split
    from arcvit.recipe.load import load_run
    from arcvit.recipe.prepare import open_recipe_task

    loaded = load_run(options.run, backbone=options.backbone, force=options.force)
    recipe = loaded.recipe
    if options.data_path is not None:
        data = dataclasses.replace(recipe.data, path=options.data_path)
        recipe = dataclasses.replace(recipe, data=data)
    task = open_recipe_task(recipe)
    if list(task.classes) != loaded.labels:
        differing = sorted(set(task.classes) ^ set(loaded.labels))
        raise UserError(
            f"{task.name!r} has other classes than the run ({len(task.classes)} and"
            f" {len(loaded.labels)}, differing in {', '.join(differing[:5])}): give data with"
            " the run's classes."
        )
    images = decode_split(task.split(options.split), loaded.preprocessing, recipe.data)
    accelerator = make_accelerator(recipe.engine, recipe.seed)
    with class_token_alone(loaded.model):
        outcome = evaluate(
            loaded.model.to(accelerator.device),
            images,
            ToInput.of(loaded.preprocessing).to(accelerator.device).eval(),
            accelerator,
        )
    if options.json:
        record = {"split": options.split, "images": len(images), "accuracy": outcome.accuracy}
        print(json.dumps({**record, "loss": outcome.loss}))
    else:
        print(f"{options.split} accuracy {outcome.accuracy:.1%} on {len(images)} images")
    return 0
