"""Pre-train the small ViT that the demo and the tests stand on, from Tiny-ImageNet tar files.

    python tools/pretrain_demo.py --data ../shared/data/tiny-imagenet-64 --out runs/pretrain \
        --recipe gpu

Run it again with the same arguments to resume. tools/PRETRAIN.md has the results.
"""

import argparse
import copy
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from pretrain.loop import Pretraining, pretrain
from pretrain.network import blend, classes_path, export, load_exported, load_start, package, top1
from pretrain.photos import read_classes, read_photos
from pretrain.recipe import RECIPES, Recipe
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from arcvit.core.allocator import keep_freed_memory

BLENDS = (0.25, 0.5, 0.75)
"""Shares of the trained weights in the blends with the weights a run started from."""
WEIGHTS = "vit_demo_tinyimagenet64.safetensors"


def parser() -> argparse.ArgumentParser:
    """The command line; every field of a recipe has an option that overrides it."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--data", type=Path, help="folder of train.tar, val.tar and classes.txt")
    made.add_argument("--out", type=Path, help="folder of checkpoint, metrics and exported weights")
    made.add_argument("--recipe", choices=RECIPES, default="gpu", help="default: %(default)s")
    made.add_argument("--init", type=Path, help="exported weights to start from; grown if deeper")
    made.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    made.add_argument("--device", help="default: cuda where there is one, else cpu")
    made.add_argument("--threads", type=int, help="CPU threads; default: PyTorch's")
    made.add_argument(
        "--save-every", type=int, default=200, help="steps between checkpoints; default: 200"
    )
    made.add_argument(
        "--evaluate", type=Path, metavar="FILE", help="print the top-1 of exported weights and stop"
    )
    made.add_argument(
        "--package",
        nargs=2,
        type=Path,
        metavar=("FILE", "FOLDER"),
        help="write exported weights as the folder that the package ships, and stop",
    )
    fields = made.add_argument_group("overrides of the recipe")
    for field in dataclasses.fields(Recipe):
        fields.add_argument(
            "--" + field.name.replace("_", "-"), type=type(field.default), metavar="VALUE"
        )
    return made


def chosen_recipe(arguments: argparse.Namespace) -> Recipe:
    """The named recipe with the given overrides."""
    names = [field.name for field in dataclasses.fields(Recipe)]
    given = {name: value for name, value in vars(arguments).items() if name in names}
    overrides = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(RECIPES[arguments.recipe], **overrides)


def evaluate(file: Path, data: Path, device: torch.device) -> float:
    """Top-1 in percent of exported weights on val.tar, by the classes listed beside the file."""
    photos, labels = read_photos(data / "val.tar", read_classes(classes_path(file)))
    return top1(load_exported(file).to(device), photos, labels, device)


def best_of(
    run: Pretraining, start: Path | None, classes: Sequence[str], val: tuple[Tensor, Tensor]
) -> tuple[float, VisionTransformer]:
    """The best on `val` of the averaged weights, the last ones, and blends with the start.

    Returns:
        Its top-1 in percent and the network.
    """
    candidates = [run.average, run.model]
    if start is not None:
        begun = copy.deepcopy(run.average)
        load_start(begun, start, classes)
        for share in BLENDS:
            blended = copy.deepcopy(run.average)
            weights = blend(begun.state_dict(), run.average.state_dict(), share)
            blended.load_state_dict(weights)
            candidates.append(blended)
    scores = [(top1(model, *val, run.device), model) for model in candidates]
    return max(scores, key=lambda pair: pair[0])


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate, or train, resume and export; `argv` replaces the command line's arguments."""
    made = parser()
    arguments = made.parse_args(argv)
    default = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(arguments.device or default)
    keep_freed_memory()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.package:
        package(*arguments.package)
        return
    if arguments.data is None:
        made.error("--data is required")
    if arguments.evaluate:
        print(f"top-1 {evaluate(arguments.evaluate, arguments.data, device):.2f} %")
        return
    if arguments.out is None:
        made.error("--out is required to train")
    arguments.out.mkdir(parents=True, exist_ok=True)
    classes = read_classes(arguments.data / "classes.txt")
    train, val = (read_photos(arguments.data / f"{s}.tar", classes) for s in ("train", "val"))
    run = Pretraining(
        chosen_recipe(arguments), classes, arguments.seed, device, start=arguments.init
    )
    if not pretrain(run, train, val, arguments.out, arguments.save_every):
        print("stopped; run the same command to resume")
        return
    best, model = best_of(run, arguments.init, classes, val)
    file = arguments.out / WEIGHTS
    export(model, file, run.recipe.architecture(len(classes)), best)
    classes_path(file).write_text("".join(name + "\n" for name in classes))
    print(f"{file}: top-1 {best:.2f} %")


if __name__ == "__main__":
    main()
