"""Families whose blocks differ among themselves: sites, their proof, and folding in float64."""

from collections import Counter
from collections.abc import Callable

import pytest
import timm
import torch
import transformers
from peft import get_peft_model
from torch import nn

from arcvit import ArcConfig
from arcvit.arc.proof import Suspect, objections
from arcvit.arc.sites import find_sites

CLASSES = 5
IMAGE = 32
HF = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": IMAGE,
    "patch_size": 8,
}
VIT = {"img_size": IMAGE, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}


class OnFirstToken(nn.Module):
    """A classifier for what transformers has no head for."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = nn.Linear(32, CLASSES)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.backbone(pixels).last_hidden_state[:, 0])


def vit_mae() -> nn.Module:
    # Its patches are shuffled at random, so only what comes of a class token is the same twice.
    config = transformers.ViTMAEConfig(**HF, mask_ratio=0.0)
    return OnFirstToken(transformers.ViTMAEModel(config))


def hf(name: str, **arguments) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        config = getattr(transformers, f"{name}Config")(**arguments, num_labels=CLASSES)
        return getattr(transformers, f"{name}ForImageClassification")(config)

    return build


def of_timm(name: str, **arguments) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, num_classes=CLASSES, **arguments)


HIERA = {"embed_dim": 16, "num_heads": 1, "stages": (1, 1), "q_pool": 1}
DAVIT = {"depths": (1, 1), "embed_dims": (16, 32), "num_heads": (2, 2)}
HF_HIERA = {
    "image_size": [IMAGE, IMAGE],
    "embed_dim": 16,
    "depths": [1, 1],
    "num_heads": [1, 2],
    "num_query_pool": 1,
    "mlp_ratio": 2.0,
}

BEFORE = {"q_proj k_proj v_proj": 2, "fc1": 2}
FAMILIES: dict[str, tuple[Callable[[], nn.Module], dict[str, int]]] = {
    "hf-beit": (hf("Beit", **HF, use_relative_position_bias=True), BEFORE),
    "hf-vit-mae": (vit_mae, BEFORE),
    "hf-vit-msn": (hf("ViTMSN", **HF), BEFORE),
    "hf-ijepa": (hf("IJepa", **HF), BEFORE),
    "hf-hiera": (hf("Hiera", **HF_HIERA), {"qkv": 1, "qkv proj": 1, "fc1": 2}),
    "timm-hiera": (
        of_timm("hiera_tiny_224", img_size=(IMAGE, IMAGE), **HIERA),
        {"qkv": 1, "qkv proj": 1, "fc1": 2},
    ),
    "timm-cait": (of_timm("cait_xxs24_224", **VIT), {"qkv": 2, "q k v": 2, "fc1": 4}),
    "timm-xcit": (
        of_timm("xcit_nano_12_p16_224", img_size=IMAGE, embed_dim=32, depth=2, num_heads=2),
        {"qkv": 2, "q k v": 2, "fc1": 4},
    ),
    "timm-davit-padded-windows": (of_timm("davit_tiny", **DAVIT), {"qkv": 4, "fc1": 4}),
}


QUICK = ("hf-beit", "hf-hiera", "timm-cait")


@pytest.fixture(
    params=[
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES
    ]
)
def family(request: pytest.FixtureRequest) -> tuple[nn.Module, dict[str, int]]:
    build, expected = FAMILIES[request.param]
    torch.manual_seed(0)
    return moved(build().double().eval()), expected


def moved(model: nn.Module) -> nn.Module:
    """Every trainable parameter away from a start behind which nothing would show."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                parameter.add_(0.1 * noise)
    return model


def logits(model: nn.Module) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(2, 3, IMAGE, IMAGE, generator=generator, dtype=torch.float64)
    torch.manual_seed(3)  # ViT-MAE shuffles
    with torch.no_grad():
        output = model(images)
    return getattr(output, "logits", output)


def test_their_sites_are_proved_and_fold_exactly(family: tuple[nn.Module, dict[str, int]]) -> None:
    plain, expected = family
    sites = find_sites(plain)
    leaves = (" ".join(c.rpartition(".")[2] for c in s.consumers) for s in sites.values())
    assert Counter(leaves) == expected
    assert all(site.proved for site in sites.values())
    suspects = [
        Suspect(
            name=site.name,
            module=plain.get_submodule(site.name),
            on_input=site.on_input,
            consumers={name: plain.get_submodule(name) for name in site.consumers},
        )
        for site in sites.values()
    ]
    images = torch.randn(1, 3, IMAGE, IMAGE, dtype=torch.float64)
    against = objections(plain, suspects, ((images,), {}))
    # In class attention q takes the class token alone, which the proof can't tell from another.
    assert len(against) == expected.get("q k v", 0)
    assert all("attn.q' takes" in objection.reason for objection in against.values())
    before = logits(plain)
    model = get_peft_model(plain, ArcConfig(r=3, sites="both")).double().eval()
    moved(model)
    adapted = logits(model)
    assert (adapted - before).abs().max() > 1e-3
    alone = model.merge_and_unload()
    difference = (logits(alone) - adapted).abs().max()
    assert difference <= 1e-12 * max(1.0, float(adapted.abs().max()))
