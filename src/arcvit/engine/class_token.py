"""The last block's MLP for the class token alone, where the head reads no other token.

B  batch, N  tokens, d  width

A ViT that pools its class token throws the other tokens of the last block away. Its attention mixes
them, so they are needed up to there; what follows works on each token by itself, and all of it but
one row of each image is computed for nothing: two thirds of the block, forward and backward. The
logits are the same, and so are the gradients, since what isn't read has none.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from arcvit.engine.forward_as import forward_as
from arcvit.engine.known_source import is_known

_BLOCK = """
x = x + self.drop_path1(
    self.ls1(self.attn(self.norm1(x), attn_mask=attn_mask, is_causal=is_causal))
)
x = x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))
return x
"""


@contextmanager
def class_token_alone(model: nn.Module) -> Iterator[None]:
    """Within the context, no token that nobody reads goes through the last MLP of a timm ViT.

    Models that pool in another way, and blocks of other classes, are left as they are. Within the
    context ``forward_features`` gives the class token alone, and dropout draws fewer numbers. A
    copy made within it stays as it is there.

    Args:
        model: a model, adapted or not.
    """
    with ExitStack() as restored:
        for module in model.modules():
            block = _last_block(module)
            if block is not None:
                restored.enter_context(forward_as(block, _class_token))
        yield


def _last_block(model: nn.Module) -> Block | None:
    """The last block of a ViT whose head reads its class token alone, if nobody watches it."""
    if type(model) is not VisionTransformer or not isinstance(model.blocks, nn.Sequential):
        return None
    if model.global_pool != "token" or model.attn_pool is not None or not len(model.blocks):
        return None
    # A tuner may have wrapped it.
    found = [block for block in model.blocks[-1].modules() if type(block) is Block]
    uses = [block for item in model.blocks for block in item.modules() if block in found]
    if len(found) != 1 or len(uses) != 1:
        return None
    block = found[0]
    if not is_known(Block.forward, _BLOCK, "Skipping the last MLP for tokens that nobody reads"):
        return None
    watched = block._forward_hooks or model.blocks[-1]._forward_hooks or "forward" in vars(block)
    return None if watched else block


def _class_token(
    block: Block, forward: Callable[..., Tensor], x: Tensor, *args: Any, **kwargs: Any
) -> Tensor:
    """timm's ``Block.forward`` with the MLP's half on the class token: (B, N, d) to (B, 1, d)."""
    if args or kwargs:  # a mask: nobody here gives one
        return forward(x, *args, **kwargs)
    attended = block.drop_path1(block.ls1(block.attn(block.norm1(x))))
    x = x[:, :1] + attended[:, :1]
    return x + block.drop_path2(block.ls2(block.mlp(block.norm2(x))))
