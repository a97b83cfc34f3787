"""Projections made for all sites at once: what each site would have made alone."""

from functools import partial

import pytest
import timm
import torch
from peft import get_peft_model
from torch.utils._python_dispatch import TorchDispatchMode

from arcvit import ArcConfig
from arcvit.arc.prepared import fused_sites, prepared

TINY = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}


def _model(**options):
    torch.manual_seed(0)
    backbone = timm.create_model("vit_tiny_patch16_224", num_classes=3, **TINY)
    config = ArcConfig(r=4, init_weights=False, arc_dropout=0.0, **options)
    return get_peft_model(backbone, config).double()


def _gradients(model, images):
    model.zero_grad()
    model(images).square().sum().backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"share": "none"},
        {"share": "all"},
        {"up_projection": "separate"},
        {"adapter_bias": False},
        {"core": "full"},
        {"core": "full", "up_projection": "separate", "train_projection": False},
        {"sites": "both"},
        {"rank_pattern": {"norm2": 3}},
    ],
)
def test_outputs_and_gradients_are_those_of_sites_alone(options):
    model, images = _model(**options), torch.randn(2, 3, 16, 16, dtype=torch.float64)
    sites = fused_sites(model)
    assert len(sites) == (12 if options.get("sites") == "both" else 6)
    alone = _gradients(model, images)
    with prepared(sites, images):
        together = _gradients(model, images)
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("core", ["diagonal", "full"])
def test_the_factor_of_dropout_is_in_the_projections(core):
    model, images = _model(sites="both", core=core), torch.randn(2, 3, 16, 16, dtype=torch.float64)
    for site in fused_sites(model):
        site.dropout["default"] = 0.4
    found = []
    for sites in ([], fused_sites(model)):
        torch.manual_seed(1)
        with prepared(sites, images):
            found.append(model.train()(images))
    torch.testing.assert_close(*found)


def test_nothing_is_left_on_the_sites_even_after_an_exception():
    model, images = _model(), torch.randn(2, 3, 16, 16, dtype=torch.float64)
    sites = fused_sites(model)
    with pytest.raises(KeyError), prepared(sites, images):
        assert all(site.prepared is not None for site in sites)
        raise KeyError
    assert all(site.prepared is None for site in sites)


def test_adapters_that_changed_are_told():
    model, images = _model(), torch.randn(2, 3, 16, 16, dtype=torch.float64)
    sites = fused_sites(model)
    model.merge_adapter()
    assert fused_sites(model) == []
    context = prepared(sites, images)
    with pytest.raises(RuntimeError, match=r"the adapters at 'blocks\.0\.norm1' have changed"):
        context.__enter__()


class _Counted(TorchDispatchMode):
    """Counts the operations that run, views and empty tensors left out."""

    free = (
        *("view", "_unsafe_view", "t", "transpose", "detach", "select", "slice", "as_strided"),
        *("empty", "alias"),
    )

    def __init__(self):
        super().__init__()
        self.ran = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name not in self.free and "promote" not in name:
            self.ran.append(name)
        return func(*args, **(kwargs or {}))


def test_a_site_is_few_operations():
    model, x = _model().float().train(), torch.randn(2, 5, 16, requires_grad=True)
    site = fused_sites(model)[0]
    site.dropout["default"] = 0.1
    autocast = partial(torch.autocast, "cpu", dtype=torch.bfloat16)
    with prepared([site], x, autocast=autocast):
        with autocast(), _Counted() as forward:
            y = site(x)
        ones = torch.ones_like(y)
        with _Counted() as backward:
            torch.autograd.grad(y, [x, *site.prepared[:2]], ones)
    print(f"operations of a site: {len(forward.ran)} forward, {len(backward.ran)} backward")
    assert len(forward.ran) <= 12, forward.ran
    assert len(backward.ran) <= 16, backward.ran
