"""The optimizers of a run."""

import torch
from timm.models.vision_transformer import VisionTransformer


def optimizers(
    model: VisionTransformer, name: str, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """AdamW for all of a ViT, or Muon for the matrices of its blocks and AdamW for the rest.

    Muon (Jordan et al., 2024) orthogonalizes the momentum of a matrix; its updates are scaled to
    the root mean square of AdamW's (Liu et al., 2025), so one learning rate serves both. Matrices
    and the patch kernel decay; biases, norms and embeddings do not.

    Args:
        model: what is trained.
        name: "adamw" or "muon".
        weight_decay: decay of the matrices, per unit of learning rate.

    Raises:
        ValueError: another name.
    """
    if name not in ("adamw", "muon"):
        raise ValueError(f"optimizer is {name!r}; expected 'adamw' or 'muon'")
    named = dict(model.named_parameters())
    matrices = {key for key, value in named.items() if key.endswith("weight") and value.ndim > 1}
    turned = {key for key in matrices if name == "muon" and key.startswith("blocks.")}
    groups = [
        {
            "params": [v for k, v in named.items() if k in matrices - turned],
            "weight_decay": weight_decay,
        },
        {"params": [v for k, v in named.items() if k not in matrices], "weight_decay": 0.0},
    ]
    made: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, fused=True)]
    if turned:
        made.append(
            torch.optim.Muon(
                [v for k, v in named.items() if k in turned],
                weight_decay=weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return made
