"""Training steps to find something out by: nothing is learned."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator

from arcvit.backbones.logits import logits_of
from arcvit.engine.learner import Learner
from arcvit.engine.objective import mean_loss


@contextmanager
def trial(
    learner: Learner, accelerator: Accelerator, *, images: int
) -> Iterator[Callable[[], None]]:
    """Within the context, a function that goes forward and back with a batch.

    The random state is as before afterwards, so that a run trains the same whatever was tried.

    Args:
        learner: what is trained, on the accelerator's device, not yet prepared.
        accelerator: device and precision.
        images: how many are in the batch.
    """
    model, device = learner.model, accelerator.device
    stored, labels = learner.train.__getitems__(list(range(images)))

    def step() -> None:
        pixels = learner.training_input(stored.to(device))
        with accelerator.autocast():
            logits = logits_of(model(pixels))
        mean_loss(logits.float(), labels.to(device)).backward()

    was_training = model.training
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            model.train()
            yield step
    finally:
        model.train(was_training)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.grad = None
