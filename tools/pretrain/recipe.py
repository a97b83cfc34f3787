"""What a pre-training run does: architecture, regularization and schedule."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """One pre-training recipe. Shares and rates are in [0, 1].

    Attributes:
        embed_dim: width of the ViT; a multiple of 64, the width of an attention head.
        depth: number of blocks.
        epochs: passes over the training photos.
        batch_size: photos per optimizer step.
        micro_batch: photos per forward and backward pass; divides batch_size.
        optimizer: "adamw", or "muon" for the blocks' matrices with AdamW for all else.
        lr: peak learning rate; Muon's updates are scaled to the size of AdamW's.
        weight_decay: decay of the matrices; biases, norms and embeddings have none.
        warmup: share of the steps, at the start, with a linear warm-up.
        decay: share of the steps, at the end, with a cosine to zero; constant before that.
        patch_drop: share of the patches left out of training photos (0 in the full-token end).
        full_tokens: share of the steps, at the end, that see all patches.
        drop_path: stochastic depth rate of the last block; growing linearly from 0.
        crop_scale: smallest share of a photo's area that a random crop keeps.
        operations: share of the photos with one of TrivialAugment's operations.
        erase: share of the photos with a random rectangle erased.
        mixup: share of the batches mixed by Mixup.
        cutmix: share of the batches mixed by CutMix.
        unmixed: share of the steps, at the end, without Mixup and CutMix.
        smoothing: label smoothing.
        ema: decay of the averaged weights per step.
        precision: of the activations, "bf16" or "fp32"; the weights are fp32.
    """

    embed_dim: int = 192
    depth: int = 12
    epochs: int = 600
    batch_size: int = 1024
    micro_batch: int = 1024
    optimizer: str = "adamw"
    lr: float = 2e-3
    weight_decay: float = 0.05
    warmup: float = 0.03
    decay: float = 0.97
    patch_drop: float = 0.0
    full_tokens: float = 1.0
    drop_path: float = 0.1
    crop_scale: float = 0.25
    operations: float = 0.9
    erase: float = 0.25
    mixup: float = 0.4
    cutmix: float = 0.5
    unmixed: float = 0.05
    smoothing: float = 0.1
    ema: float = 0.9998
    precision: str = "bf16"

    def architecture(self, num_classes: int) -> dict[str, int]:
        """Arguments of timm's `VisionTransformer` that rebuild the exported network."""
        return {
            "img_size": 64,
            "patch_size": 8,
            "embed_dim": self.embed_dim,
            "depth": self.depth,
            "num_heads": self.embed_dim // 64,
            "num_classes": num_classes,
        }

    def lr_at(self, progress: float) -> float:
        """Learning rate at `progress` in [0, 1): linear warm-up, constant, a cosine to zero."""
        if progress < self.warmup:
            return self.lr * progress / self.warmup
        decayed = max(0.0, 1 - (1 - progress) / self.decay)
        return self.lr * (1 + math.cos(math.pi * decayed)) / 2

    def patch_drop_at(self, progress: float) -> float:
        """Share of the patches dropped at `progress` in [0, 1)."""
        return 0.0 if progress >= 1 - self.full_tokens else self.patch_drop

    def mixing_at(self, progress: float) -> tuple[float, float]:
        """Shares of Mixup and CutMix batches at `progress` in [0, 1)."""
        return (0.0, 0.0) if progress >= 1 - self.unmixed else (self.mixup, self.cutmix)


RECIPES = {
    "gpu": Recipe(),
    "cpu": Recipe(
        depth=6,
        epochs=24,
        batch_size=256,
        micro_batch=128,
        optimizer="muon",
        lr=7e-4,
        warmup=0.04,
        decay=0.65,
        patch_drop=0.5,
        full_tokens=0.12,
        drop_path=0.05,
        crop_scale=0.4,
        operations=0.35,
        erase=0.1,
        mixup=0.1,
        cutmix=0.3,
        unmixed=0.08,
        ema=0.999,
    ),
}
