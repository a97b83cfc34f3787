"""VPT: learned tokens beside the image's own in a frozen vision transformer.

"Visual Prompt Tuning" (ECCV 2022, arXiv 2203.12119), section 3.2. *Deep*: every block gets prompts
of its own, and drops what becomes of them. *Shallow*: the first block gets prompts, which go
through all blocks. Prompts stand after the class token, as in the authors' code.

B  batch, N  tokens, d  width, p  prompts
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arcvit.arc.config import PeftTypeName
from arcvit.arc.register import register_tuner
from arcvit.core.errors import UserError
from arcvit.core.settings import Range, Share
from arcvit.methods.tuners.tuner import MethodConfig, MethodLayer, MethodModel

VPT_TYPE = PeftTypeName("VPT")


@dataclass
class VptConfig(MethodConfig):
    """The settings of ``VptOptions``, as PEFT keeps them."""

    method_type = VPT_TYPE

    prompts: Annotated[int, Range(at_least=1, at_most=10_000)] = 50
    deep: bool = True
    dropout: Share = 0.1


class VptLayer(MethodLayer):
    """A transformer block that gets prompts, drops them after it, or both.

    Args:
        base_layer: the block.
        place: how many tokens stand before the prompts.
        width: width d of a token.
        bound: prompts start uniform in [-bound, bound].
        first: whether it is the first block.
        last: whether it is the last block.
    """

    adapter_layer_names = ("vpt_prompts",)

    def __init__(
        self,
        base_layer: nn.Module,
        *,
        place: int,
        width: int,
        bound: float,
        first: bool,
        last: bool,
    ) -> None:
        super().__init__(base_layer)
        self.place = place
        self.width = width
        self.bound = bound
        self.first = first
        self.last = last
        self.vpt_prompts = nn.ParameterDict()
        self.dropped: dict[str, int] = {}
        self.dropout: dict[str, float] = {}

    def add(self, adapter_name: str, config: VptConfig) -> None:
        """Prompts as the authors start them: uniform, Xavier's bound for a patch and the width."""
        self.dropout[adapter_name] = config.dropout
        self.dropped[adapter_name] = config.prompts if config.deep or self.last else 0
        if config.deep or self.first:
            prompts = torch.empty(config.prompts, self.width).uniform_(-self.bound, self.bound)
            self.vpt_prompts[adapter_name] = nn.Parameter(prompts)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The block's output, (B, N, d); between a shallow first and last block (B, N + p, d)."""
        active = self._on(self.dropped)
        given = [
            F.dropout(self.vpt_prompts[name], self.dropout[name], self.training)
            .to(x.dtype)
            .expand(x.shape[0], -1, -1)  # len() would fix the batch where it is exported
            for name in active
            if name in self.vpt_prompts
        ]
        if given:
            x = torch.cat([x[:, : self.place], *given, x[:, self.place :]], dim=1)
        y: Tensor = self.base_layer(x, *args, **kwargs)
        dropped = sum(self.dropped[name] for name in active)
        if dropped:
            y = torch.cat([y[:, : self.place], y[:, self.place + dropped :]], dim=1)
        return y


class VptModel(MethodModel):
    """VPT for vision transformers with absolute position embeddings and a list ``blocks``."""

    prefix = "vpt_"
    tuner_layer_cls = VptLayer
    layer_kind = VptLayer

    def wrapped(self, config: VptConfig, model: nn.Module) -> list[str]:
        """Every block; of shallow prompts the first and the last."""
        blocks = getattr(model, "blocks", None)
        if not isinstance(blocks, nn.Sequential | nn.ModuleList) or not _takes_tokens(model):
            raise UserError(
                f"vpt can't be put on {type(model).__name__}, whose attention has fixed places for"
                " its tokens: expected a plain ViT with absolute position embeddings; the other"
                " methods work on any family."
            )
        last = len(blocks) - 1
        chosen = range(len(blocks)) if config.deep else dict.fromkeys((0, last))
        return [f"blocks.{index}" for index in chosen]

    def make_layer(self, config: VptConfig, model: nn.Module, name: str) -> VptLayer:
        """The wrapper of a block."""
        del config
        blocks: Any = model.blocks
        width = int(getattr(model, "embed_dim"))  # noqa: B009  Module attributes are untyped
        height, across = _patch(model)
        index = int(name.rpartition(".")[2])
        return VptLayer(
            model.get_submodule(name),
            place=int(getattr(model, "num_prefix_tokens", 1)),
            width=width,
            bound=math.sqrt(6 / (3 * height * across + width)),
            first=index == 0,
            last=index == len(blocks) - 1,
        )


def _takes_tokens(model: nn.Module) -> bool:
    """Whether tokens can be added: absolute positions, no rotary and no relative ones."""
    if getattr(model, "pos_embed", None) is None or getattr(model, "rope", None) is not None:
        return False
    relative = ("relative_position_bias_table", "rel_pos", "rel_pos_bias")
    return not any(
        getattr(module, name, None) is not None for module in model.modules() for name in relative
    )


def _patch(model: nn.Module) -> tuple[int, int]:
    size = getattr(getattr(model, "patch_embed", None), "patch_size", (16, 16))
    return (int(size[0]), int(size[1])) if isinstance(size, tuple | list) else (int(size),) * 2


register_tuner(VPT_TYPE, VptConfig, VptModel)
