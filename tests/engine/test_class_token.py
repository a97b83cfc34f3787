"""The last MLP on the class token alone: the same logits and gradients, fewer tokens."""

from typing import Any, get_args

import pytest
import timm
import torch
from torch import Tensor, nn

from arcvit.engine.class_token import class_token_alone
from arcvit.engine.config import MemoryMode
from arcvit.engine.memory import recomputing
from arcvit.methods.table import methods
from arcvit.recipe.methods import adapt
from arcvit.recipe.parser import parse_recipe

IMAGES, TOKENS = 3, 17
TINY: dict[str, Any] = {
    "img_size": 32,
    "patch_size": 8,
    "embed_dim": 32,
    "depth": 3,
    "num_heads": 2,
}


def vit(**options: Any) -> nn.Module:
    torch.manual_seed(0)
    made: nn.Module = timm.create_model(
        "vit_tiny_patch16_224", num_classes=4, **TINY, **options
    ).double()
    return made


def adapted(method: str, **options: Any) -> nn.Module:
    """Adapted, and every trained parameter away from where it starts."""
    recipe = parse_recipe(["--data.path=p", f"--method={method}", "--arc.r=8"])
    model = adapt(vit(**options), recipe, "head").double().eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.1)
    return model


def images() -> Tensor:
    return torch.randn(
        IMAGES, 3, 32, 32, dtype=torch.double, generator=torch.Generator().manual_seed(1)
    )


def logits_and_gradients(
    model: nn.Module, memory: MemoryMode = "fast"
) -> tuple[Tensor, dict[str, Tensor | None]]:
    with recomputing(model, memory):
        logits = model(images())
        logits.square().sum().backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.requires_grad}
    model.zero_grad()
    return logits.detach(), gradients


def tokens_through_the_last_mlp(model: nn.Module) -> int:
    seen: list[int] = []
    (mlp,) = [m for n, m in model.named_modules() if n.endswith(("blocks.2.mlp", "base_layer.mlp"))]
    hook = mlp.register_forward_hook(lambda _, args, output: seen.append(args[0].shape[1]))
    model(images())
    hook.remove()
    return seen[0]


@pytest.mark.parametrize(
    ("method", "memory"),
    [
        *((method, "fast") for method in methods() if method != "peft"),
        *(("arc", memory) for memory in get_args(MemoryMode) if memory != "fast"),
    ],
)
def test_logits_and_gradients_are_those_of_all_tokens(method: str, memory: MemoryMode) -> None:
    model = adapted(method, init_values=0.1)
    expected = logits_and_gradients(model)
    with class_token_alone(model):
        found = logits_and_gradients(model, memory)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("options", [{}, {"reg_tokens": 2}, {"pre_norm": True}, {"fc_norm": True}])
def test_one_token_goes_through_the_last_mlp(options: dict[str, Any]) -> None:
    model = vit(**options).eval()
    expected = model(images())
    tokens = TOKENS + options.get("reg_tokens", 0)
    assert tokens_through_the_last_mlp(model) == tokens
    with class_token_alone(model), class_token_alone(model):
        assert tokens_through_the_last_mlp(model) == 1
        torch.testing.assert_close(model(images()), expected)
    assert tokens_through_the_last_mlp(model) == tokens


@pytest.mark.parametrize(
    "options",
    [{"global_pool": "avg"}, {"global_pool": "map"}, {"class_token": False, "global_pool": "max"}],
)
def test_other_pooling_reads_all_tokens(options: dict[str, Any]) -> None:
    model = vit(**options).eval()
    expected = model(images())
    with class_token_alone(model):
        torch.testing.assert_close(model(images()), expected, rtol=0, atol=0)


def test_other_blocks_and_watched_ones_are_left_alone() -> None:
    parallel = vit(block_fn=timm.models.vision_transformer.ParallelScalingBlock)
    watched = vit()
    seen: list[Tensor] = []
    watched.blocks[-1].register_forward_hook(lambda _, args, output: seen.append(output))  # type: ignore[union-attr, operator]
    for model in (parallel, watched):
        with class_token_alone(model):
            assert model.forward_features(images()).shape[1] == TOKENS  # type: ignore[operator]
    assert seen[0].shape[1] == TOKENS


def test_a_mask_takes_all_tokens() -> None:
    model = vit().eval()
    mask = torch.ones(TOKENS, TOKENS, dtype=torch.bool)
    with class_token_alone(model):
        assert model.forward_features(images(), attn_mask=mask).shape[1] == TOKENS  # type: ignore[operator]


def test_a_model_is_as_before_after_an_error() -> None:
    model = vit()
    before = dict(vars(model.blocks[-1]))  # type: ignore[index]
    with pytest.raises(RuntimeError, match="stop"), class_token_alone(model):
        raise RuntimeError("stop")
    assert dict(vars(model.blocks[-1])) == before  # type: ignore[index]
