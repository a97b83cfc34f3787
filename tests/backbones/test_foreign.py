"""Original weight files, read by path: Google's ViT archives and Microsoft's Swin pickles."""

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import nn

from arcvit.backbones.build import build_backbone
from arcvit.backbones.npz import describe_npz
from arcvit.core.errors import UserError

D, DEPTH, HEADS, HIDDEN, PATCH, GRID = 24, 2, 3, 48, 8, 4


def vit_archive(file: Path, grid: int = GRID) -> dict[str, np.ndarray]:
    """An archive in the original ViT's naming, with random values."""
    rng = np.random.default_rng(0)

    def values(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    head = D // HEADS
    arrays = {
        "embedding/kernel": values(PATCH, PATCH, 3, D),
        "embedding/bias": values(D),
        "cls": values(1, 1, D),
        "Transformer/posembed_input/pos_embedding": values(1, grid * grid + 1, D),
        "Transformer/encoder_norm/scale": values(D),
        "Transformer/encoder_norm/bias": values(D),
        "head/kernel": values(D, 21),
        "head/bias": values(21),
    }
    for index in range(DEPTH):
        block = f"Transformer/encoderblock_{index}"
        attention = f"{block}/MultiHeadDotProductAttention_1"
        for name in ("query", "key", "value"):
            arrays[f"{attention}/{name}/kernel"] = values(D, HEADS, head)
            arrays[f"{attention}/{name}/bias"] = values(HEADS, head)
        arrays[f"{attention}/out/kernel"] = values(HEADS, head, D)
        arrays[f"{attention}/out/bias"] = values(D)
        for norm in ("LayerNorm_0", "LayerNorm_2"):
            arrays[f"{block}/{norm}/scale"] = values(D)
            arrays[f"{block}/{norm}/bias"] = values(D)
        arrays[f"{block}/MlpBlock_3/Dense_0/kernel"] = values(D, HIDDEN)
        arrays[f"{block}/MlpBlock_3/Dense_0/bias"] = values(HIDDEN)
        arrays[f"{block}/MlpBlock_3/Dense_1/kernel"] = values(HIDDEN, D)
        arrays[f"{block}/MlpBlock_3/Dense_1/bias"] = values(D)
    np.savez(file, **arrays)
    return arrays


def test_an_original_vit_is_built_from_its_shapes_and_loaded(tmp_path) -> None:
    file = tmp_path / "ViT-X_8.npz"
    arrays = vit_archive(file)
    _, arguments = describe_npz(file)
    assert arguments == {
        "img_size": 32, "patch_size": 8, "embed_dim": D, "depth": DEPTH, "num_heads": HEADS,
        "mlp_ratio": 2.0,
    }  # fmt: skip
    model = build_backbone(str(file), num_classes=5).model
    query = arrays["Transformer/encoderblock_1/MultiHeadDotProductAttention_1/query/kernel"]
    expected = torch.from_numpy(query.reshape(D, D).T)
    assert torch.equal(model.blocks[1].attn.qkv.weight[:D], expected)
    patches = torch.from_numpy(arrays["embedding/kernel"]).permute(3, 2, 0, 1)
    assert torch.equal(model.patch_embed.proj.weight, patches)
    assert model.head.out_features == 5
    assert not model.head.weight.any()


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        ((768, 12, 16), "vit_base_patch16_224"),
        ((1024, 24, 16), "vit_large_patch16_224"),
        ((1280, 32, 14), "vit_huge_patch14_224"),
    ],
)
def test_the_published_files_are_known_by_their_shapes(tmp_path, monkeypatch, shape, name) -> None:
    width, depth, patch = shape
    heads = {768: 12, 1024: 16, 1280: 16}[width]
    shapes = {
        "embedding/kernel": (patch, patch, 3, width),
        "cls": (1, 1, width),
        "Transformer/posembed_input/pos_embedding": (1, (224 // patch) ** 2 + 1, width),
        **{
            f"Transformer/encoderblock_{i}/MultiHeadDotProductAttention_1/query/kernel": (
                width, heads, width // heads,
            )
            for i in range(depth)
        },
        "Transformer/encoderblock_0/MlpBlock_3/Dense_0/kernel": (width, 4 * width),
    }  # fmt: skip
    monkeypatch.setattr("arcvit.backbones.npz._shapes", lambda _: shapes)
    found, arguments = describe_npz(tmp_path / "any.npz")
    with torch.device("meta"):
        ours = timm.create_model(found, weight_init="skip", **arguments)
        timms = timm.create_model(name, weight_init="skip")
    assert found == name
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: v.shape for k, v in timms.state_dict().items()
    }


def test_position_embeddings_are_interpolated_to_another_size(tmp_path) -> None:
    vit_archive(tmp_path / "a.npz")
    model = build_backbone(str(tmp_path / "a.npz"), num_classes=5, image_size=48).model
    assert model.pos_embed.shape == (1, 37, D)
    assert model.eval()(torch.randn(1, 3, 48, 48)).shape == (1, 5)


def _swin(**arguments) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(
        "swin_tiny_patch4_window7_224", embed_dim=12, depths=(1, 2), num_heads=(2, 3), **arguments
    )


def microsoft_swin(file: Path) -> nn.Module:
    """A file as Microsoft's repository saves it, of a random model."""
    model = _swin(num_classes=7).eval()
    state = {}
    for key, value in model.state_dict().items():
        theirs = key.replace("head.fc.", "head.")
        if theirs.startswith("layers.1.downsample"):
            theirs = theirs.replace("layers.1.", "layers.0.")
        state[theirs] = value.clone()
    state["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49)
    torch.save({"model": state}, file)
    return model


def test_a_microsoft_swin_is_known_by_its_name_and_loaded(tmp_path, monkeypatch) -> None:
    file = tmp_path / "swin_tiny_patch4_window7_224_22k.pth"
    original = microsoft_swin(file)
    build = timm.create_model
    monkeypatch.setattr(
        "timm.create_model",
        lambda name, **kw: build(name, embed_dim=12, depths=(1, 2), num_heads=(2, 3), **kw),
    )
    loaded = build_backbone(str(file), num_classes=7).model.eval()
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        features = original.forward_features(images)
        assert torch.equal(loaded.forward_features(images), features)


@pytest.mark.filterwarnings("ignore::UserWarning:timm.layers.interpolate")
def test_relative_bias_tables_are_interpolated_to_another_window(tmp_path, monkeypatch) -> None:
    file = tmp_path / "swin_tiny_patch4_window7_224.pth"
    microsoft_swin(file)
    build = timm.create_model
    monkeypatch.setattr(
        "timm.create_model",
        lambda name, **kw: build(
            name, embed_dim=12, depths=(1, 2), num_heads=(2, 3), window_size=8, **kw
        ),
    )
    model = build_backbone(str(file), num_classes=7, image_size=256).model
    table = model.layers[0].blocks[0].attn.relative_position_bias_table
    assert table.shape == (15 * 15, 2)
    assert model.eval()(torch.randn(1, 3, 256, 256)).shape == (1, 7)


@pytest.mark.parametrize("damage", ["cls", "Transformer/encoderblock_0/MlpBlock_3/Dense_0/kernel"])
def test_an_archive_that_lacks_what_tells_its_shape_is_refused(tmp_path, damage) -> None:
    arrays = vit_archive(tmp_path / "whole.npz")
    del arrays[damage]
    np.savez(tmp_path / "damaged.npz", **arrays)
    with pytest.raises(UserError, match=f"it lacks {damage}"):
        build_backbone(str(tmp_path / "damaged.npz"), num_classes=5)


def test_an_archive_that_lacks_a_weight_is_refused(tmp_path) -> None:
    arrays = vit_archive(tmp_path / "whole.npz")
    del arrays["Transformer/encoderblock_1/LayerNorm_2/scale"]
    np.savez(tmp_path / "damaged.npz", **arrays)
    with pytest.raises(UserError, match="encoderblock_1/LayerNorm_2/scale"):
        build_backbone(str(tmp_path / "damaged.npz"), num_classes=5)


def test_a_file_that_is_no_archive_is_refused(tmp_path) -> None:
    (tmp_path / "a.npz").write_bytes(b"no archive")
    with pytest.raises(UserError, match=r"a\.npz can't be read"):
        build_backbone(str(tmp_path / "a.npz"), num_classes=5)
