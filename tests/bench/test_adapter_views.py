"""Coefficients and singular values that the report shows, against the tuner's own."""

from pathlib import Path

import pytest
import torch
from peft import get_peft_model

from arcvit import ArcConfig
from arcvit.backbones.build import build_backbone
from arcvit.bench.adapter_views import read_sites

SETTINGS = [{}, {"share": "none"}, {"share": "all"}, {"up_projection": "separate"}]


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_folded_update(tiny: Path, tmp_path: Path, settings: dict[str, str]) -> None:
    torch.manual_seed(0)
    plain = build_backbone(str(tiny), num_classes=4).model
    weights = {name: p.clone() for name, p in plain.named_parameters()}
    model = get_peft_model(plain, ArcConfig(r=4, init_weights=False, **settings))
    model.save_pretrained(tmp_path / "adapter")
    sites = read_sites(tmp_path)
    assert [site.name for site in sites] == [f"blocks.{i}.norm{n}" for i in (0, 1) for n in (1, 2)]
    folded = model.merge_and_unload()
    for site, consumer in zip(sites, ("attn.qkv", "mlp.fc1") * 2, strict=True):
        name = f"{site.name.rpartition('.')[0]}.{consumer}.weight"
        # W (I + update): what folding adds to W, without W.
        update = torch.linalg.pinv(weights[name]) @ (folded.get_parameter(name) - weights[name])
        expected = torch.linalg.svdvals(update)[:4]
        torch.testing.assert_close(
            torch.tensor(site.singular_values), expected, rtol=1e-3, atol=1e-4
        )


def test_sites_after_a_layer_and_full_cores(tiny: Path, tmp_path: Path) -> None:
    plain = build_backbone(str(tiny), num_classes=4).model
    config = ArcConfig(r=4, init_weights=False, sites="both", core="full")
    model = get_peft_model(plain, config)
    model.save_pretrained(tmp_path / "adapter")
    found = {site.name: site for site in read_sites(tmp_path)}
    assert list(found)[:4] == [f"blocks.0.{n}" for n in ("norm1", "norm2", "attn.proj", "mlp.fc2")]
    assert len(found) == 8
    for name, site in found.items():
        factors = model.base_model.model.get_submodule(name).factors("default")
        expected = torch.linalg.svdvals(factors.into @ factors.out_of)[:4]
        torch.testing.assert_close(torch.tensor(site.singular_values), expected)
        assert site.coefficients == factors.core.diagonal().tolist()
