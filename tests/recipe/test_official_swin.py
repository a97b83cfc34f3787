"""``arcvit import`` of the authors' Swin: their names, and what their blocks compute."""

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from arcvit.backbones.official import convert_official
from arcvit.core.errors import UserError
from arcvit.recipe.adapter import load_adapter

DEPTHS, R, CLASSES, WIDTH = (2, 2, 6, 2), 3, 5, 8
SIZES: dict[str, Any] = {
    "img_size": 32, "window_size": 2, "embed_dim": WIDTH, "depths": DEPTHS,
    "num_heads": (1, 2, 4, 8), "num_classes": CLASSES,
}  # fmt: skip
"""Grids of 8, 4, 2 and 1 tokens: windows that shift, that cover the grid, and that are cut."""


def swin() -> nn.Module:
    torch.manual_seed(0)
    model = timm.create_model("swin_tiny_patch4_window7_224", **SIZES).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def adapters() -> dict[str, Tensor]:
    """What their file holds beside timm's: the two projections of a stage once more a block."""
    torch.manual_seed(1)
    added = {}
    for stage, depth in enumerate(DEPTHS):
        dim = WIDTH * 2**stage
        for role in ("attn", "mlp"):
            shared = 0.4 * torch.randn(dim, R)
            added[f"layers.{stage}.{role}_u"] = shared
            for block in range(depth):
                prefix = f"layers.{stage}.blocks.{block}.{role}"
                added[f"{prefix}_u"] = shared
                added[f"{prefix}_lambda"] = torch.randn(1, R)
                added[f"{prefix}_lambda_bias"] = 0.3 * torch.randn(dim)
    return added


def theirs(model: nn.Module) -> dict[str, Tensor]:
    """The state dict of their ``SwinTransformer`` with a timm model's weights."""
    state = adapters()
    for key, value in {**model.state_dict(), **dict(model.named_buffers())}.items():
        name = key.replace("head.fc.", "head.")
        for stage in (1, 2, 3):
            name = name.replace(f"layers.{stage}.downsample", f"layers.{stage - 1}.downsample")
        state[name] = value
    return state


def as_their_blocks_compute(model: nn.Module) -> nn.Module:
    """``x = x + attention(A(norm1(x))); x = A(x); x = x + mlp(norm2(x))`` (ARC_swin_b.py)."""
    added = adapters()

    def adapter(stage: int, block: int, role: str) -> Callable[[Tensor], Tensor]:
        prefix = f"layers.{stage}.blocks.{block}.{role}"
        down, scale, bias = (added[f"{prefix}_{part}"] for part in ("u", "lambda", "lambda_bias"))
        return lambda x: x + (x @ (down * scale)) @ down.T + bias

    for stage, layer in enumerate(model.layers):
        for index, block in enumerate(layer.blocks):
            before_attention = adapter(stage, index, "attn")
            before_norm = adapter(stage, index, "mlp")

            def forward(
                self, x, before_attention=before_attention, before_norm=before_norm
            ) -> Tensor:
                x = x + self._attn(before_attention(self.norm1(x)))
                x = before_norm(x)
                return x + self.mlp(self.norm2(x))

            block.forward = types.MethodType(forward, block)
    return model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("authors") / "swin_checkpoint.bin"
    torch.save(theirs(swin()), file)
    return file


def test_the_adapter_on_its_backbone_gives_the_authors_logits(checkpoint, tmp_path, arcvit) -> None:
    backbone, out = tmp_path / "swin", tmp_path / "adapter"
    answer = arcvit("import", checkpoint, "--out", out, "--backbone_out", backbone)
    assert answer.code == 0, answer.err
    assert "arc, r=3, 5 classes, on swin_tiny_patch4_window7_224" in answer.out
    assert "its FFN adapters sit before the norm" in answer.out
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        found = load_adapter(out, device="cpu").model(images)
        expected = as_their_blocks_compute(swin())(images)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


LAST = "layers.2.blocks.5"
DAMAGE: dict[str, tuple[Callable[[dict[str, Tensor]], Any], str]] = {
    "depths": (
        lambda s: [s.pop(key) for key in list(s) if key.startswith(LAST)],
        "its stages have 2, 2, 5, 2 blocks, expected 2, 2, 18, 2 or 2, 2, 6, 2",
    ),
    "missing": (lambda s: s.pop(f"{LAST}.mlp_lambda"), f"missing: {LAST}.mlp_lambda"),
    "mask": (lambda s: s.pop("layers.1.blocks.1.attn_mask"), "missing: layers.1.blocks.1.attn"),
    "shape": (lambda s: s.update({f"{LAST}.mlp_u": torch.zeros(32, 2)}), "mlp_u (32, 2) for"),
    "own": (lambda s: s.update({f"{LAST}.attn_u": torch.zeros(32, R)}), "attn_u differs from"),
    "stranger": (lambda s: s.update(absolute_pos_embed=torch.zeros(1)), "unexpected: absolute_pos"),
    "table": (
        lambda s: s.update({
            "layers.0.blocks.0.attn.relative_position_bias_table": torch.zeros(8, 1)
        }),
        "has 8 rows, expected the square of an odd number",
    ),
    "grid": (
        lambda s: s.update({"layers.0.blocks.1.attn_mask": torch.zeros(9, 4, 4)}),
        "6 x 6 tokens",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_a_state_dict_that_does_not_fit_is_refused(name: str) -> None:
    damage, said = DAMAGE[name]
    state = theirs(swin())
    damage(state)
    with pytest.raises(UserError) as caught:
        convert_official(state)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_an_adapter_that_is_not_finite_is_refused(checkpoint, tmp_path, arcvit) -> None:
    state = torch.load(checkpoint, weights_only=True)
    state[f"{LAST}.mlp_lambda"].fill_(float("nan"))
    torch.save(state, tmp_path / "damaged.bin")
    answer = arcvit("import", tmp_path / "damaged.bin", "--out", tmp_path / "adapter")
    assert (answer.code, answer.out) == (2, "")
    assert f"{LAST}.norm2.arc_coefficients" in answer.err
    assert not (tmp_path / "adapter").exists()


@pytest.mark.slow
def test_the_backbone_that_it_was_trained_on_is_taken_and_no_other(
    checkpoint, tmp_path, arcvit, tiny
) -> None:
    for folder, model in {"own": swin(), "other": swin().apply(_reset)}.items():
        timm.models.save_for_hf(model, tmp_path / folder, model_args=SIZES, safe_serialization=True)
    given = ("import", checkpoint, "--out", tmp_path / "adapter")
    for flags, said in {
        ("--backbone", tiny): "is a VisionTransformer of other layers with other weights",
        ("--backbone", tmp_path / "other"): "is one with other weights: expected the backbone",
        ("--backbone", tiny, "--backbone_out", tmp_path / "b"): "give --backbone or --backbone_out",
        ("--heads", 4): "heads is 4: a Swin's weights tell its own",
    }.items():
        answer = arcvit(*given, *flags)
        assert (answer.code, answer.out) == (2, "")
        assert said in answer.err
    assert not (tmp_path / "adapter").exists()
    answer = arcvit(*given, "--backbone", tmp_path / "own")
    assert answer.code == 0, answer.err
    assert load_adapter(tmp_path / "adapter", device="cpu").task.backbone.name.endswith("own")


def _reset(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        module.reset_parameters()
