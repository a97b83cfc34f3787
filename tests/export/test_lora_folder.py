"""What can't be written as LoRA is refused by name; what can is read by arcvit, too."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from peft import get_peft_model
from torch import nn

import arcvit
from arcvit import ArcConfig
from arcvit.core.errors import UserError
from arcvit.core.task import read_task
from arcvit.export.adapted import AdaptedModel
from arcvit.export.lora_folder import as_lora, write_lora
from arcvit.methods.table import method_named

SIZE = {
    "img_size": 32,
    "patch_size": 8,
    "embed_dim": 32,
    "depth": 2,
    "num_heads": 2,
    "num_classes": 3,
}
Adapted = Callable[..., AdaptedModel]


def vit() -> nn.Module:
    return timm.create_model("vit_tiny_patch16_224", **SIZE)


def of_method(name: str) -> nn.Module:
    spec = method_named(name)
    return spec.build(vit(), spec.make_options(), "head")


def beit() -> nn.Module:
    model = timm.create_model("beit_base_patch16_224", **SIZE)
    return get_peft_model(model, ArcConfig(r=4, modules_to_save=["head"]))


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (
            vit,
            "a model that was trained whole or merged can't be written as LoRA: expected",
        ),
        (
            lambda: of_method("ssf"),
            "^an adapter of SSF can't be written as LoRA: expected an adapter of ARC or",
        ),
        (
            lambda: of_method("vera"),
            "^an adapter of VERA can't be written as LoRA: expected an adapter of ARC or",
        ),
        (beit, r"'blocks\.0\.attn\.qkv' can't carry LoRA: its module takes its weight and three"),
    ],
)
def test_refused(
    build: Callable[[], nn.Module], sentence: str, adapted: Adapted, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=sentence):
        write_lora([adapted(build())], tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_layers_without_a_bias_are_told_and_ranks_may_differ(
    adapted: Adapted, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    plain = timm.create_model("vit_tiny_patch16_224", **SIZE, qkv_bias=False)
    config = ArcConfig(r=4, rank_pattern={"norm2": 6}, init_weights=False, modules_to_save=["head"])
    model = get_peft_model(plain, config)
    _, without_bias = as_lora(model)
    assert without_bias == ["blocks.0.attn.qkv", "blocks.1.attn.qkv"]
    written = write_lora([adapted(model)], tmp_path / "m")
    assert written.difference < 1e-5
    assert "2 of its layers have no bias in the backbone" in " ".join(written.notes)


@pytest.mark.slow
def test_arcvit_reads_lora_of_arc(trained: Callable[[str], Path], tmp_path: Path) -> None:
    run = arcvit.load(trained("arc"), device="cpu")
    exported = run.export(tmp_path / "m", format="lora")
    assert exported.difference < 1e-5
    again = arcvit.load(tmp_path / "m", device="cpu")
    photo = torch.zeros(24, 24, 3, dtype=torch.uint8).numpy()
    one, other = (c.predict(photo)[0] for c in (run, again))
    assert one.label == other.label
    assert one.probability == pytest.approx(other.probability, abs=1e-5)


@pytest.mark.slow
def test_what_is_written_names_the_backbone_where_it_is(
    make_adapter: Callable[..., Path], tiny: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny, tmp_path / "moved")
    adapter = make_adapter(tmp_path / "adapter")
    exported = arcvit.export_adapters(
        [adapter], tmp_path / "m", format="lora", backbone=str(tmp_path / "moved")
    )
    assert f'"local-dir:{tmp_path}/moved"' in exported.loading
    assert read_task(tmp_path / "m").backbone.name == str(tmp_path / "moved")
