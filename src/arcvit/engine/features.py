"""Features computed once, where only the head learns and the images don't change."""

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from arcvit.engine.batches import Batches, Prepare, loader


class FeatureBank:
    """Inputs of the head for every image of a split, and their labels.

    Args:
        features: (N, ...) in single precision.
        labels: (N,).
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


@torch.no_grad()
def head_features(
    model: nn.Module,
    head: nn.Module,
    batches: Batches,
    prepare: Prepare,
    accelerator: Accelerator,
    *,
    batch_size: int,
) -> FeatureBank:
    """One pass of the frozen backbone over a split, keeping what reaches the head."""
    seen: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].float().cpu()))
    was_training = model.training
    model.eval()
    labels = []
    try:
        for stored, batch_labels in loader(batches, batch_size, shuffle=False):
            with accelerator.autocast():
                model(prepare(stored.to(accelerator.device)))
            labels.append(batch_labels)
    finally:
        hook.remove()
        model.train(was_training)
    return FeatureBank(torch.cat(seen), torch.cat(labels))
