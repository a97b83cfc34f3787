"""Every known family: sites, what trains, the start, folding, saving and loading."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import timm
import torch
import transformers
from peft import PeftModel, get_peft_model
from torch import nn

from arcvit import ArcConfig
from arcvit.arc.functional import adapter_update
from arcvit.arc.layer import ArcLayer
from arcvit.arc.sites import find_sites
from arcvit.core.errors import UserError

R = 3
CLASSES = 5


@dataclass(frozen=True, kw_only=True)
class Family:
    """The smallest model of a family and what is known of it."""

    build: Callable[[], nn.Module]
    widths: tuple[int, ...]
    """Width of each block, in order."""
    att: str
    ffn: str
    head: str = "head"
    image: int = 32


def timm_model(name: str, **arguments) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, num_classes=CLASSES, **arguments)


def hf_model(name: str, config: str, **arguments) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        made = getattr(transformers, config)(**arguments, num_labels=CLASSES)
        return getattr(transformers, name)(made)

    return build


VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
EVA = {"img_size": 28, "embed_dim": 32, "depth": 2, "num_heads": 2}
SWIN = {"embed_dim": 16, "depths": (1, 2), "num_heads": (2, 2)}
HF = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
HF_SWIN = {
    "image_size": 36,
    "patch_size": 4,
    "embed_dim": 16,
    "depths": [1, 2],
    "num_heads": [2, 2],
    "window_size": 4,
}


class DinoV3Classifier(nn.Module):
    """transformers has no DINOv3 with a head: its class token through a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**HF))
        self.classifier = nn.Linear(32, CLASSES)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.backbone(pixel_values).pooler_output)


TIMM_PRE_NORM = {"widths": (32, 32), "att": "norm1", "ffn": "norm2"}
HF_PRE_NORM = {"widths": (32, 32), "head": "classifier"}
HF_VIT = {"att": "layernorm_before", "ffn": "layernorm_after", **HF_PRE_NORM}
HF_DINO = {"att": "norm1", "ffn": "norm2", **HF_PRE_NORM}
HF_CLIP = {"att": "layer_norm1", "ffn": "layer_norm2", **HF_PRE_NORM}

FAMILIES = {
    "timm-vit": Family(build=timm_model("vit_tiny_patch16_224", **VIT), **TIMM_PRE_NORM),
    "timm-vit-no-qkv-bias": Family(
        build=timm_model("vit_tiny_patch16_224", qkv_bias=False, **VIT), **TIMM_PRE_NORM
    ),
    "timm-vit-registers": Family(
        build=timm_model("vit_tiny_patch16_224", reg_tokens=4, **VIT), **TIMM_PRE_NORM
    ),
    "timm-vit-avg-pool": Family(
        build=timm_model("vit_tiny_patch16_224", global_pool="avg", **VIT), **TIMM_PRE_NORM
    ),
    "timm-vit-layer-scale": Family(
        build=timm_model("vit_tiny_patch16_224", init_values=0.1, **VIT), **TIMM_PRE_NORM
    ),
    "timm-siglip-map-pool": Family(
        build=timm_model("vit_base_patch16_siglip_224", **VIT), **TIMM_PRE_NORM
    ),
    "timm-deit": Family(build=timm_model("deit_tiny_patch16_224", **VIT), **TIMM_PRE_NORM),
    "timm-deit3": Family(build=timm_model("deit3_small_patch16_224", **VIT), **TIMM_PRE_NORM),
    "timm-beit": Family(build=timm_model("beit_base_patch16_224", **VIT), **TIMM_PRE_NORM),
    "timm-beitv2": Family(build=timm_model("beitv2_base_patch16_224", **VIT), **TIMM_PRE_NORM),
    "timm-eva02-split-qkv": Family(
        build=timm_model("eva02_base_patch14_224", **EVA), image=28, **TIMM_PRE_NORM
    ),
    "timm-eva02-fused-qkv": Family(
        build=timm_model("eva02_tiny_patch14_224", **EVA), image=28, **TIMM_PRE_NORM
    ),
    "timm-swin": Family(
        build=timm_model("swin_tiny_patch4_window7_224", img_size=32, window_size=4, **SWIN),
        widths=(16, 32, 32),
        att="attn",
        ffn="norm2",
        head="head.fc",
    ),
    "timm-swin-padded-windows": Family(
        build=timm_model("swin_tiny_patch4_window7_224", img_size=36, window_size=4, **SWIN),
        widths=(16, 32, 32),
        att="attn",
        ffn="norm2",
        head="head.fc",
        image=36,
    ),
    "timm-swinv2": Family(
        build=timm_model("swinv2_tiny_window8_256", img_size=32, window_size=4, **SWIN),
        widths=(16, 32, 32),
        att="attn",
        ffn="mlp",
        head="head.fc",
    ),
    "timm-swinv2-padded-windows": Family(
        build=timm_model("swinv2_tiny_window8_256", img_size=36, window_size=4, **SWIN),
        widths=(16, 32, 32),
        att="attn",
        ffn="mlp",
        head="head.fc",
        image=36,
    ),
    "hf-vit": Family(build=hf_model("ViTForImageClassification", "ViTConfig", **HF), **HF_VIT),
    "hf-deit": Family(build=hf_model("DeiTForImageClassification", "DeiTConfig", **HF), **HF_VIT),
    "hf-dinov2": Family(
        build=hf_model("Dinov2ForImageClassification", "Dinov2Config", **HF), **HF_DINO
    ),
    "hf-dinov2-swiglu": Family(
        build=hf_model("Dinov2ForImageClassification", "Dinov2Config", **HF, use_swiglu_ffn=True),
        **HF_DINO,
    ),
    "hf-dinov3": Family(build=DinoV3Classifier, **HF_DINO),
    "hf-clip": Family(
        build=hf_model(
            "CLIPForImageClassification",
            "CLIPConfig",
            vision_config=HF,
            text_config={"bos_token_id": 0, "eos_token_id": 1},
        ),
        **HF_CLIP,
    ),
    "hf-siglip": Family(
        build=hf_model("SiglipForImageClassification", "SiglipConfig", vision_config=HF),
        **HF_CLIP,
    ),
    "hf-swin-padded-windows": Family(
        build=hf_model("SwinForImageClassification", "SwinConfig", **HF_SWIN),
        widths=(16, 32, 32),
        att="attention",
        ffn="layernorm_after",
        head="classifier",
        image=36,
    ),
}


FEW = ["timm-vit", "timm-beit", "timm-swin", "hf-vit", "hf-swin-padded-windows"]
FEW_FAMILIES = pytest.mark.parametrize("family", FEW, indirect=True)
"""For what depends on the names of heads and on the kind of a site alone."""


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


@pytest.fixture(scope="module")
def plain(family: Family) -> nn.Module:
    """A model of the family, without adapters. Not to be changed."""
    torch.manual_seed(0)
    model = family.build().eval()
    # Some families start with zero norms or tiny layer scales, behind which nothing would show.
    return randomise(model)


def adapted(family: Family, model: nn.Module, **config) -> nn.Module:
    settings = {"r": R, "modules_to_save": [family.head], **config}
    return get_peft_model(copy.deepcopy(model), ArcConfig(**settings)).eval()


def logits(model: nn.Module, family: Family) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, family.image, family.image, generator=generator)
    with torch.no_grad():
        output = model(images)
    return output if isinstance(output, torch.Tensor) else output.logits


def randomise(model: nn.Module, scale: float = 0.1) -> nn.Module:
    """Move every trainable parameter away from its start."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return model


def test_families_have_their_sites_and_train_only_adapters_and_head(
    family: Family, plain: nn.Module
) -> None:
    sites = list(find_sites(plain).values())
    assert [s.width for s in sites if s.role == "att"] == list(family.widths)
    assert [s.width for s in sites if s.role == "ffn"] == list(family.widths)
    assert {s.name.rpartition(".")[2] for s in sites if s.role == "att"} == {family.att}
    assert {s.name.rpartition(".")[2] for s in sites if s.role == "ffn"} == {family.ffn}
    assert all(s.consumers for s in sites)
    after = list(find_sites(plain, "after").values())
    assert [s.width for s in after] == [d for d in family.widths for _ in range(2)]
    assert [s.role for s in after] == ["att", "ffn"] * len(family.widths)
    model = adapted(family, plain)
    expected = 2 * sum(d * R for d in sorted(set(family.widths)))
    expected += 2 * sum(R + d for d in family.widths)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    adapter = {n: p for n, p in trained.items() if ".arc_" in n}
    assert sum(p.numel() for p in adapter.values()) == expected
    projections = [n for n in adapter if "arc_projection" in n]
    assert len(projections) == 2 * len(set(family.widths)), "one a role and width"
    rest = set(trained) - set(adapter)
    assert all(f".{family.head}.modules_to_save.default." in n for n in rest)
    assert len(rest) == 2


@FEW_FAMILIES
def test_families_start_as_the_init_rules_say(family: Family, plain: nn.Module) -> None:
    before = logits(plain, family)
    torch.testing.assert_close(logits(adapted(family, plain, variant="arc_att"), family), before)
    torch.testing.assert_close(
        logits(adapted(family, plain, coefficients_init="zeros"), family), before
    )
    with_ffn = logits(adapted(family, plain), family)
    assert not torch.allclose(with_ffn, before, atol=1e-6), "the FFN adapter isn't the identity"


def test_families_fold_equals_not_folded(family: Family, plain: nn.Module) -> None:
    model = adapted(family, plain, sites="both")
    randomise(model)
    original = {n: t.clone() for n, t in model.state_dict().items()}
    unfolded = logits(model, family)
    assert (unfolded - logits(plain, family)).abs().max() > 1e-3
    model.merge_adapter(safe_merge=True)
    torch.testing.assert_close(logits(model, family), unfolded, rtol=1e-4, atol=1e-4)
    model.unmerge_adapter()
    after = model.state_dict()
    assert after.keys() == original.keys()
    assert all(torch.equal(after[n], t) for n, t in original.items()), "not restored exactly"
    alone = model.merge_and_unload()
    assert not any(isinstance(m, ArcLayer) for m in alone.modules())
    torch.testing.assert_close(logits(alone, family), unfolded, rtol=1e-4, atol=1e-4)


@FEW_FAMILIES
def test_families_save_and_load_bit_exact(family: Family, plain: nn.Module, tmp_path) -> None:
    model = adapted(family, plain)
    randomise(model)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(copy.deepcopy(plain), str(tmp_path)).eval()
    assert torch.equal(logits(loaded, family), logits(model, family))


def test_families_gradients_reach_every_trained_parameter(family: Family, plain: nn.Module) -> None:
    model = adapted(family, plain, sites="both")
    randomise(model)
    output = model(torch.randn(2, 3, family.image, family.image))
    output = output if isinstance(output, torch.Tensor) else output.logits
    output.square().sum().backward()
    without = [
        n
        for n, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.any())
    ]
    assert without == []
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)


@FEW_FAMILIES
def test_families_two_adapters_of_different_heads(family: Family, plain: nn.Module) -> None:
    model = adapted(family, plain)
    model.add_adapter(
        "second",
        ArcConfig(r=2, modules_to_save=[family.head], num_classes=3),
    )
    model.set_adapter("second")
    assert logits(model, family).shape == (2, 3)
    model.set_adapter("default")
    assert logits(model, family).shape == (2, CLASSES)


@pytest.mark.parametrize(
    "name", ["timm-swin", "timm-swin-padded-windows", "hf-swin-padded-windows"]
)
def test_swin_residual_placement_changes_the_stream_and_refuses_to_fold(name: str) -> None:
    family = FAMILIES[name]
    torch.manual_seed(0)
    plain = family.build().eval()
    model = adapted(family, plain, ffn_placement="residual")
    randomise(model)
    paper = adapted(family, plain)
    paper.load_state_dict(model.state_dict())
    unfolded = logits(model, family)
    assert not torch.allclose(unfolded, logits(paper, family), atol=1e-3)
    with pytest.raises(ValueError, match=r"can't be folded: it changes the residual stream"):
        model.merge_adapter()
    assert torch.equal(logits(model, family), unfolded)
    model.unload()
    hooks = [m for m in model.modules() if m._forward_hooks]
    assert not hooks


def test_swin_residual_placement_is_the_authors_equation() -> None:
    family = FAMILIES["timm-swin"]
    model = adapted(family, family.build().eval(), ffn_placement="residual")
    randomise(model)
    block = model.get_base_model().layers[0].blocks[0]
    x = torch.randn(2, 8, 8, 16)
    with torch.no_grad():
        after_attention = x + block._attn(block.norm1(x))
        layer = block.norm2
        stream = after_attention + adapter_update(after_attention, layer.factors("default"))
        expected = stream + block.mlp(layer.base_layer(stream).reshape(2, -1, 16)).reshape(x.shape)
        torch.testing.assert_close(block(x), expected)


def test_residual_placement_outside_swin_is_refused() -> None:
    family = FAMILIES["timm-vit"]
    with pytest.raises(UserError, match="authors' Swin code"):
        adapted(family, family.build(), ffn_placement="residual")


@pytest.mark.parametrize(
    ("name", "r", "variant", "expected"),
    [
        ("vit_base_patch16_224", 50, "arc", 96_432),
        ("vit_base_patch16_224", 50, "arc_att", 48_216),
        ("vit_large_patch16_224", 50, "arc", 153_952),
        ("vit_huge_patch14_224", 50, "arc", 213_120),
        ("swin_base_patch4_window7_224", 50, "arc", 218_464),
    ],
)
def test_adapter_parameters_are_the_papers(name: str, r: int, variant: str, expected: int) -> None:
    with torch.device("meta"):
        backbone = timm.create_model(name, weight_init="skip")
        model = get_peft_model(backbone, ArcConfig(r=r, variant=variant))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == expected


@pytest.mark.parametrize("name", ["timm-swin", "timm-swinv2"])
def test_sites_inside_of_others_carry_a_second_adapter_and_come_off(name: str, tmp_path) -> None:
    family = FAMILIES[name]
    torch.manual_seed(0)
    plain = family.build().eval()
    model = adapted(family, plain)
    settings = {"r": R, "modules_to_save": [family.head], "sites": "both"}
    model.add_adapter("second", ArcConfig(**settings))
    model.set_adapter("second")
    randomise(model)
    expected = logits(model, family)
    model.save_pretrained(tmp_path, selected_adapters=["second"])
    loaded = PeftModel.from_pretrained(copy.deepcopy(plain), str(tmp_path / "second")).eval()
    assert torch.equal(logits(loaded, family), expected)
    alone = model.merge_and_unload()
    assert not any(isinstance(m, ArcLayer) for m in alone.modules())
    torch.testing.assert_close(logits(alone, family), expected, rtol=1e-4, atol=1e-4)
