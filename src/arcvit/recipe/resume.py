"""How an unfinished run goes on: only on the images, labels and splits it was begun with."""

import json
import sys
from collections.abc import Callable

from accelerate import Accelerator
from accelerate.utils import gather_object

from arcvit.core.errors import UserError
from arcvit.core.files import read_json, write_text
from arcvit.data.contents import Contents, changes, contents_of
from arcvit.data.findings import examples
from arcvit.data.task import ImageTask
from arcvit.engine.checkpoint import Checkpoints, epoch_of
from arcvit.recipe.run import Run


def settle_on(
    checkpoints: Checkpoints, accelerator: Accelerator, run: Run, say: Callable[[str], None]
) -> None:
    """Say what a run goes on from, and what it can't be the same in.

    Args:
        checkpoints: those of the run; told what it runs on now.
        accelerator: device, precision, processes.
        run: the run.
        say: told in a line each.

    Raises:
        UserError: the processes find different checkpoints.
    """
    newest = checkpoints.newest
    if len(set(gather_object([newest and newest.name]))) > 1:
        raise UserError(
            f"the processes find different checkpoints in {run.folder}: expected --out on a disk"
            " that all machines share."
        )
    goes_on = "begins again" if newest is None else f"goes on from {newest.name}"
    for sentence in checkpoints.damaged:
        say(f"warning: {sentence.rstrip('.')}: the run {goes_on}")
    if newest is not None:
        epochs = checkpoints.settings.get("epochs", run.recipe.engine.epochs)
        done = epoch_of(newest)
        say(f"resuming at epoch {done + 1}" if done < epochs else "resuming after the last epoch")
    here = {"device": accelerator.device.type, "processes": accelerator.num_processes}
    before = {key: checkpoints.settings.get(key) for key in here}
    if newest is not None and before != here:
        told = "{processes} process(es) on {device}".format
        say(
            f"warning: the run was begun with {told(**before)} and goes on with {told(**here)}:"
            " dropout and augmentation draw differently from here on"
        )
    checkpoints.settings |= {"precision": accelerator.mixed_precision, **here}


def known_task(
    run: Run, task: ImageTask, say: Callable[[str], None]
) -> tuple[ImageTask, Contents, bool]:
    """The task to train on, what is in it, and whether a run goes on with the same.

    Args:
        run: the run, which may be unfinished.
        task: what is there now.
        say: told what has changed, where the run goes on all the same.

    Raises:
        UserError: an unfinished run's images have changed.
    """
    now = contents_of(task, without=() if run.read_test else ("test",))
    if not run.has_checkpoint and not run.has_folds:
        return task, now, False
    if not run.images.is_file():
        raise UserError(f"{run.images} isn't there: the unfinished run is damaged, remove it.")
    earlier = _read_images(run)
    new = [repr(name) for name in now.classes if name not in earlier.classes]
    if new:
        raise UserError(
            f"{run.recipe.data.path} has {len(new)} class(es) more than when the run in"
            f" {run.folder} stopped, {examples(new)}: its head has no output for them, choose"
            " another --out."
        )
    changed = changes(earlier, now)
    if not changed:
        return task, now, True
    sentence = (
        f"the images of {run.recipe.data.path} have changed since the run in {run.folder} stopped:"
        f" {changed}"
    )
    if run.recipe.folds is not None:  # other images are divided in another way
        raise UserError(f"{sentence}; bring them back, or choose another --out.")
    if not run.resume_anyway:
        raise UserError(
            f"{sentence}; bring them back, choose another --out, or give --resume_anyway, which"
            " keeps the images of then in their splits."
        )
    say(f"warning: {sentence}")
    now = now.with_splits_of(earlier)
    return now.divide(task), now, False


def write_images(run: Run, contents: Contents) -> None:
    """Leave in the run folder which images it is about."""
    write_text(run.images, json.dumps(contents.to_dict()))


def trained_on(run: Run) -> frozenset[str]:
    """The contents of the images that a finished run was trained on."""
    images = _read_images(run).images
    fitted = {"train"}
    if run.recipe.data.fit_on == "trainval":
        own_list = any("trainval" in image.splits for image in images)
        fitted = {"trainval"} if own_list else {"train", "val"}
    return frozenset(image.content for image in images if fitted.intersection(image.splits))


def known_contents(run: Run) -> frozenset[str]:
    """The contents of all images of a finished run, whatever their split."""
    return frozenset(image.content for image in _read_images(run).images)


def _read_images(run: Run) -> Contents:
    # Our own, and as long as there are images.
    return Contents.from_dict(read_json(run.images, most=sys.maxsize))
