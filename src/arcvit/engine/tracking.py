"""Experiment trackers, through accelerate: TensorBoard in the run folder, wandb and mlflow."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.tracking import TensorBoardTracker

from arcvit.core.extras import require

TENSORBOARD_FOLDER = "tensorboard"
TRACKER_FOLDERS = (TENSORBOARD_FOLDER, "wandb")
"""What trackers write into the run folder."""


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that aren't installed; accelerate would leave them out without a word.

    Raises:
        UserError: names the packages.
    """
    for name in names:
        require(name, f"engine.track={name}")


@contextmanager
def tracking(
    accelerator: Accelerator, names: Sequence[str], run: Path, config: Mapping[str, Any]
) -> Iterator[None]:
    """Start trackers, and finish them whatever happens.

    Args:
        accelerator: gets them; ``accelerator.log`` then writes to all.
        names: which ones.
        run: the run folder; TensorBoard writes into ``tensorboard/`` in it.
        config: the recipe, flat, for the trackers that show one.
    """
    accelerator.log_with = [
        TensorBoardTracker(TENSORBOARD_FOLDER, run) if name == "tensorboard" else name
        for name in names
    ]
    wandb = {"dir": str(run), "name": run.name}
    accelerator.init_trackers("arcvit", init_kwargs={"wandb": wandb})
    try:
        for tracker in accelerator.trackers:
            # TensorBoard would open a run of its own for it; the recipe lies beside.
            if tracker.name != "tensorboard":
                tracker.store_init_configuration(dict(config))
        yield
    finally:
        # Not accelerator.end_training(): it would also end the process group.
        for tracker in accelerator.trackers:
            tracker.finish()
