"""What the loop trains: the model on images, or its head alone on features computed once."""

import time
from dataclasses import dataclass

from accelerate import Accelerator
from torch import Tensor, nn

from arcvit.engine.batches import Batches, Prepare
from arcvit.engine.features import differs_in_training, head_features, only_head_learns
from arcvit.recipe.prepare import Workplace


@dataclass(frozen=True, kw_only=True)
class Learner:
    """What the loop gets.

    Attributes:
        model: the adapted model, or its head.
        train: images, or features.
        training_input: turns a batch of them into the model's input while training.
        val: the same of the validation split, or None.
        evaluation_input: turns a batch into the model's input otherwise.
        seconds: time it took to compute features.
    """

    model: nn.Module
    train: Batches
    training_input: Prepare
    val: Batches | None
    evaluation_input: Prepare
    seconds: float = 0.0


def build_learner(work: Workplace, accelerator: Accelerator) -> Learner:
    """The head alone where nothing else learns or changes from epoch to epoch, else the model."""
    prep = work.training_prep
    if (
        prep.random_crop
        or prep.flip
        or differs_in_training(work.model)
        or not only_head_learns(work.model, work.head)
    ):
        return _whole_model(work)
    return _head_alone(work, accelerator)


def _whole_model(work: Workplace) -> Learner:
    return Learner(
        model=work.model,
        train=work.images.train,
        training_input=work.training_input,
        val=work.images.val,
        evaluation_input=work.to_input,
    )


def _head_alone(work: Workplace, accelerator: Accelerator) -> Learner:
    def features(images: Batches) -> Batches:
        return head_features(work.model, work.head, images, work.to_input, accelerator)

    start = time.perf_counter()
    train = features(work.images.train)
    val = None if work.images.val is None else features(work.images.val)
    return Learner(
        model=work.head,
        train=train,
        training_input=_as_it_is,
        val=val,
        evaluation_input=_as_it_is,
        seconds=time.perf_counter() - start,
    )


def _as_it_is(stored: Tensor) -> Tensor:
    return stored
