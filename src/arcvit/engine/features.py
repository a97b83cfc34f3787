"""Features computed once, where only the head learns and the images don't change."""

import dataclasses

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from arcvit.engine.batches import Batches, Prepare, as_it_is, loader, widest_that_fits
from arcvit.engine.device import evaluation_batch
from arcvit.engine.learner import Learner


class FeatureBank:
    """Inputs of the head for every image of a split, and their labels.

    Args:
        features: (N, ...) in single precision.
        labels: (N,), or (N, K) of several labels an image.
    """

    def __init__(self, features: Tensor, labels: Tensor) -> None:
        self.features = features
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.features[index], self.labels[index]

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        chosen = torch.as_tensor(indices)
        return self.features[chosen], self.labels[chosen]


def on_features(learner: Learner, accelerator: Accelerator) -> Learner:
    """The head alone, on features of images that are the same in every epoch.

    Where more than the head learns, or the backbone draws at random, the learner stays as it is.
    """
    if differs_in_training(learner.model) or not only_head_learns(learner.model, learner.head):
        return learner

    def features(images: Batches) -> Batches:
        prepare = learner.evaluation_input
        return head_features(learner.model, learner.head, images, prepare, accelerator)

    return dataclasses.replace(
        learner,
        model=learner.head,
        train=features(learner.train),
        training_input=as_it_is,
        val=None if learner.val is None else features(learner.val),
        evaluation_input=as_it_is,
    )


def only_head_learns(model: nn.Module, head: nn.Module) -> bool:
    """Whether no parameter outside the head is trained."""
    in_head = {id(p) for p in head.parameters()}
    return all(id(p) in in_head for p in model.parameters() if p.requires_grad)


def differs_in_training(model: nn.Module) -> bool:
    """Whether a model gives other features in training mode: dropout, drop path, batch norm."""
    return any(
        float(getattr(module, "p", 0)) > 0
        if isinstance(module, nn.modules.dropout._DropoutNd)
        else isinstance(module, nn.modules.batchnorm._BatchNorm)
        or float(getattr(module, "drop_prob", 0) or 0) > 0
        for module in model.modules()
    )


def head_features(
    model: nn.Module,
    head: nn.Module,
    batches: Batches,
    prepare: Prepare,
    accelerator: Accelerator,
    *,
    batch_size: int | None = None,
) -> FeatureBank:
    """One pass of the frozen backbone over a split, keeping what reaches the head.

    Every process computes all of them: each trains on the whole split's features.

    Args:
        model: the adapted model.
        head: its head.
        batches: images as stored, and labels.
        prepare: turns a stored batch on the device into the model's input.
        accelerator: device and precision.
        batch_size: images in a forward pass; None: the widest that is of use and fits.
    """
    seen: list[Tensor] = []
    # Kept on the device until the end: the host needn't wait for each batch.
    hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].float()))
    cuda = accelerator.device.type == "cuda"

    @torch.inference_mode()
    def one_pass(size: int) -> list[Tensor]:
        seen.clear()
        labels = []
        for stored, batch_labels in loader(batches, size, shuffle=False, pin=cuda):
            with accelerator.autocast():
                model(prepare(stored.to(accelerator.device, non_blocking=cuda)))
            labels.append(batch_labels)
        return labels

    was_training = model.training
    model.eval()
    try:
        labels = widest_that_fits(one_pass, batch_size or evaluation_batch(accelerator.device))
    finally:
        hook.remove()
        model.train(was_training)
    # Outside of inference mode, or the head couldn't learn from them.
    return FeatureBank(torch.cat(seen).cpu(), torch.cat(labels))
