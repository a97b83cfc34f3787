"""What the loop trains: the model on images, or its head alone on features computed once."""

from dataclasses import dataclass

from torch import Tensor, nn

from arcvit.core.task import Kind
from arcvit.engine.batches import Batches, Prepare


@dataclass(frozen=True, kw_only=True)
class Learner:
    """What the loop gets.

    Attributes:
        model: the adapted model on the device, or its head.
        head: its head.
        train: images as stored, or features, with their labels.
        training_input: turns a batch of them on the device into the model's input while training.
        val: the same of the validation split; None: nothing is measured on the way.
        evaluation_input: turns a batch into the model's input otherwise.
        class_weights: how much an image counts in the loss by its class, (K,); None: all alike.
    """

    model: nn.Module
    head: nn.Module
    train: Batches
    training_input: Prepare
    val: Batches | None
    evaluation_input: Prepare
    class_weights: Tensor | None = None

    @property
    def kind(self) -> Kind:
        """Whether an image has one label or any number, as its labels' form tells."""
        return "multilabel" if self.train[0][1].ndim else "single"
