"""How many epochs fit into a time: measured on a few steps before anything is learned.

The schedule ends with the last epoch, so their number must be known before the first step; the run
is then the same as one of so many epochs.
"""

import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace

import torch
from accelerate import Accelerator

from arcvit.engine.config import EngineConfig
from arcvit.engine.learner import Learner
from arcvit.engine.trial import trial

_STEPS = (4, 50)
"""At least and at most so many steps are measured."""
_STRETCH = 3.0
"""Seconds that are enough to measure."""
_RESERVE = (0.05, 2.0)
"""What is kept free: a share of the time, and seconds, for what comes after the last epoch."""
_CHECKPOINT = 0.1
"""Seconds that writing a checkpoint may take."""


def epochs_that_fit(
    learner: Learner,
    accelerator: Accelerator,
    engine: EngineConfig,
    *,
    seconds: float,
    batch_size: int,
    whole: Learner,
    images_after: int,
) -> tuple[int, float]:
    """Measure steps, and count.

    Args:
        learner: what is trained, on the accelerator's device, not yet prepared.
        accelerator: device, precision, processes; the slowest process decides.
        engine: epochs at most, and how often is validated and saved.
        seconds: what is left of the time.
        batch_size: images in a forward pass of this process.
        whole: the whole model, where the head learns alone on features.
        images_after: images that it looks at after the last epoch.

    Returns:
        Epochs, at least 1 and at most ``engine.epochs``, and the seconds that they take.
    """
    images = min(batch_size, len(learner.train))
    with trial(learner, accelerator, images=images) as step:
        learning = _pace(step, accelerator.device)
        learner.model.eval()
        with torch.no_grad():
            looking = after = _look(learner, accelerator, batch_size)
            if whole.model is not learner.model:
                after = _look(whole, accelerator, batch_size)
    processes = accelerator.num_processes
    if processes > 1:
        own = torch.tensor([[learning, looking, after]], device=accelerator.device)
        learning, looking, after = accelerator.gather(own).max(dim=0).values.tolist()
    an_epoch = learning * -(-len(learner.train) // engine.batch_size)
    room = seconds * (1 - _RESERVE[0]) - _RESERVE[1] - after * images_after / processes
    validation = looking * len(learner.val or ()) / processes

    def takes(epochs: int) -> float:
        run = replace(engine, epochs=epochs)

        def times(every: int) -> int:
            return sum(run.is_due(epoch, every) for epoch in range(1, epochs + 1))

        looks, saves = times(run.validation_interval), times(engine.checkpoint_every)
        return an_epoch * epochs + validation * looks + _CHECKPOINT * saves

    fitting = bisect_right(range(1, engine.epochs + 1), room, key=takes)
    chosen = max(fitting, 1)
    return chosen, takes(chosen)


def _look(learner: Learner, accelerator: Accelerator, most: int) -> float:
    """Seconds for an image where so many, or all there are, are looked at together."""
    source = learner.train if learner.val is None else learner.val
    images = min(most, len(source))
    stored, _ = source.__getitems__(list(range(images)))

    def look() -> None:
        with accelerator.autocast():
            learner.model(learner.evaluation_input(stored.to(accelerator.device)))

    return _pace(look, accelerator.device) / images


def _pace(step: Callable[[], None], device: torch.device) -> float:
    """Seconds that a step takes, the first one aside, which makes room and chooses kernels."""
    step()
    _wait_for(device)
    begun, done, least, most = time.perf_counter(), 0, *_STEPS
    while done < least or (done < most and time.perf_counter() - begun < _STRETCH):
        step()
        _wait_for(device)
        done += 1
    return (time.perf_counter() - begun) / done


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
