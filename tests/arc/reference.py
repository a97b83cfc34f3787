"""The authors' ViT with ARC adapters, written anew from the equations and their naming.

Plain PyTorch and independent of the package: no PEFT, no timm, no shared code. Names are those of
the authors' checkpoints (``transformer.layer.{i}.att_adapter.adapter_rescale`` and so on).
"""

import torch
from torch import Tensor, nn


class Adapter(nn.Module):
    """``y = x + dropout((x D) * c) D^T + b``; D is handed in, because all layers share it."""

    def __init__(self, width: int, rank: int, dropout: float) -> None:
        super().__init__()
        self.adapter_rescale = nn.Parameter(torch.zeros(1, rank))
        self.adapter_bias = nn.Parameter(torch.zeros(width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, down: Tensor) -> Tensor:
        bottleneck = torch.einsum("bnd,dr->bnr", x, down) * self.adapter_rescale
        return x + torch.einsum("bnr,dr->bnd", self.dropout(bottleneck), down) + self.adapter_bias


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.projective = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape

        def by_head(projected: Tensor) -> Tensor:
            return projected.view(batch, tokens, self.heads, -1).transpose(1, 2)

        query, key, value = by_head(self.query(x)), by_head(self.key(x)), by_head(self.value(x))
        scores = query @ key.transpose(-1, -2) / (width // self.heads) ** 0.5
        mixed = scores.softmax(-1) @ value
        return self.projective(mixed.transpose(1, 2).reshape(batch, tokens, width))


class Mlp(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.fc1(x)
        exact_gelu = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
        return self.fc2(exact_gelu)


class Block(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int, rank: int, dropout: float) -> None:
        super().__init__()
        self.att_layer_norm = nn.LayerNorm(width, eps=1e-6)
        self.fnn_layer_norm = nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, heads)
        self.mlp = Mlp(width, hidden)
        self.att_adapter = Adapter(width, rank, dropout)
        self.mlp_adapter = Adapter(width, rank, dropout)

    def forward(self, x: Tensor, att_down: Tensor, mlp_down: Tensor | None) -> Tensor:
        x = x + self.attention(self.att_adapter(self.att_layer_norm(x), att_down))
        before_ffn = self.fnn_layer_norm(x)
        if mlp_down is not None:
            before_ffn = self.mlp_adapter(before_ffn, mlp_down)
        return x + self.mlp(before_ffn)


class Transformer(nn.Module):
    def __init__(
        self, width: int, depth: int, heads: int, hidden: int, rank: int, dropout: float, ffn: bool
    ) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Block(width, heads, hidden, rank, dropout) for _ in range(depth))
        self.layer_norm = nn.LayerNorm(width, eps=1e-6)
        self.att_down_projection = nn.Parameter(torch.empty(width, rank))
        self.mlp_down_projection = nn.Parameter(torch.empty(width, rank)) if ffn else None
        nn.init.xavier_uniform_(self.att_down_projection)
        if self.mlp_down_projection is not None:
            nn.init.xavier_uniform_(self.mlp_down_projection)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.layer:
            x = block(x, self.att_down_projection, self.mlp_down_projection)
        return self.layer_norm(x)


class Embedding(nn.Module):
    def __init__(self, width: int, image: int, patch: int) -> None:
        super().__init__()
        self.projective = nn.Conv2d(3, width, patch, stride=patch)
        self.cls = nn.Parameter(torch.zeros(1, 1, width))
        self.position_embedding = nn.Parameter(torch.zeros(1, (image // patch) ** 2 + 1, width))

    def forward(self, images: Tensor) -> Tensor:
        patches = self.projective(images).flatten(2).transpose(1, 2)
        cls = self.cls.expand(len(images), -1, -1)
        return torch.cat([cls, patches], dim=1) + self.position_embedding


class ReferenceViT(nn.Module):
    """Logits of images (B, 3, H, W) from the class token."""

    def __init__(
        self,
        *,
        width: int = 32,
        depth: int = 3,
        heads: int = 4,
        hidden: int = 64,
        image: int = 32,
        patch: int = 8,
        classes: int = 5,
        rank: int = 6,
        dropout: float = 0.0,
        ffn: bool = True,
    ) -> None:
        super().__init__()
        self.embedding = Embedding(width, image, patch)
        self.transformer = Transformer(width, depth, heads, hidden, rank, dropout, ffn)
        self.head_mlp = nn.ModuleDict({"head": nn.Linear(width, classes)})

    def forward(self, images: Tensor) -> Tensor:
        return self.head_mlp["head"](self.transformer(self.embedding(images))[:, 0])


def randomise(model: nn.Module, seed: int) -> None:
    """Give every parameter a value that matters, LayerNorms and biases included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(0.1 * noise)
