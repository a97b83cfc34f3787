"""Shortcuts are taken through the methods they were written for, and through no others."""

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import timm
import torch
from timm.layers.mlp import Mlp
from timm.models.vision_transformer import Block
from torch import nn

from arcvit.engine.class_token import class_token_alone
from arcvit.engine.known_source import is_known
from arcvit.engine.memory_hidden import keeps_only_hidden


class Counted:
    def laid_out_differently(self, x):
        """Documented."""
        # Commented.
        return self.double(
            x,
        )

    def halved(self, x):
        return self.double(x) / 2


@pytest.fixture(autouse=True)
def afresh() -> Iterator[None]:
    is_known.cache_clear()
    yield
    is_known.cache_clear()


def vit() -> nn.Module:
    made: nn.Module = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, embed_dim=16, depth=2, num_heads=2, num_classes=3
    )
    return made


def changed_block(self: Any, x: torch.Tensor, attn_mask: Any = None, is_causal: bool = False):
    x = x + self.drop_path1(self.ls1(self.attn(self.norm1(x))))
    return x + 2 * self.drop_path2(self.ls2(self.mlp(self.norm2(x)))).mean(1, keepdim=True)


def changed_mlp(self: Any, x: torch.Tensor) -> torch.Tensor:
    return self.drop2(self.fc2(self.norm(self.drop1(self.act(self.fc1(x)))))) * 0.5


def test_layout_comments_and_docstrings_dont_count() -> None:
    assert is_known(Counted.laid_out_differently, "return self.double(x)", "It")


@pytest.mark.parametrize("method", [Counted.halved, len])
def test_another_method_or_one_without_source_is_told_once(method: Any) -> None:
    with pytest.warns(UserWarning, match="It is off"):
        assert not is_known(method, "return self.double(x)", "It")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not is_known(method, "return self.double(x)", "It")


def test_the_installed_timm_is_the_one_they_were_written_for() -> None:
    model = vit()
    with class_token_alone(model):
        assert model.forward_features(torch.zeros(1, 3, 32, 32)).shape[1] == 1
    assert keeps_only_hidden(Mlp(8, 16).requires_grad_(False))


def test_a_changed_block_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Block, "forward", changed_block)
    model, images = vit().eval(), torch.randn(2, 3, 32, 32)
    nn.init.normal_(model.head.weight)
    expected = model(images)
    with pytest.warns(UserWarning, match=r"changed_block isn't the one"), class_token_alone(model):
        torch.testing.assert_close(model(images), expected)


def test_a_changed_mlp_is_recomputed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mlp, "forward", changed_mlp)
    with pytest.warns(UserWarning, match=r"changed_mlp isn't the one"):
        assert not keeps_only_hidden(Mlp(8, 16).requires_grad_(False))
