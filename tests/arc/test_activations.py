"""Projections from the activations on images."""

import pytest
import timm
import torch
from peft import get_peft_model

from arcvit import ArcConfig
from arcvit.arc.activations import initialize_from_activations
from arcvit.core.errors import UserError

TINY = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
IMAGES = torch.randn(12, 3, 16, 16, generator=torch.Generator().manual_seed(3))


def _backbone():
    torch.manual_seed(0)
    return timm.create_model("vit_tiny_patch16_224", num_classes=3, **TINY).double()


def _model(**options):
    config = ArcConfig(r=3, projection_init="activations", **options)
    return get_peft_model(_backbone(), config).double()


def _projection(model, role):
    return model.base_model.model.blocks[0].get_submodule(role).factors("default").down


def _seen(names):
    """What goes out of modules of the plain backbone, without its mean, as (rows, d)."""
    model, seen = _backbone().eval(), []
    for name in names:
        model.get_submodule(name).register_forward_hook(
            lambda module, args, output: seen.append(output.flatten(0, -2))
        )
    model(IMAGES.double())
    return torch.cat([rows - rows.mean(0) for rows in seen])


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, {"sites": "both"}, {"up_projection": "separate"}])
def test_they_are_the_principal_directions_of_the_layers_that_share_them(options):
    model = _model(**options).train()
    before = {n: (p.clone(), p.requires_grad) for n, p in model.named_parameters()}
    initialize_from_activations(model, IMAGES.double().split(5))
    for role in ("norm1", "norm2"):
        found = _projection(model, role)
        _, _, directions = torch.linalg.svd(_seen([f"blocks.{i}.{role}" for i in (0, 1)]))
        along = (directions[:3] @ found).abs()
        torch.testing.assert_close(along, torch.eye(3, dtype=found.dtype), rtol=0, atol=1e-5)
        largest = found.gather(0, found.abs().argmax(0, keepdim=True))
        assert (largest > 0).all()
        site = model.base_model.model.blocks[1].get_submodule(role)
        assert torch.equal(site.factors("default").up, found.mT)
    assert model.training
    for name, parameter in model.named_parameters():
        value, trained = before[name]
        assert parameter.requires_grad == trained
        assert torch.equal(parameter, value) or "arc_projection" in name or "arc_up" in name
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_without_an_adapter_or_images_it_says_so():
    with pytest.raises(ValueError, match="no adapter 'other'"):
        initialize_from_activations(_model(), [IMAGES.double()], adapter_name="other")
    with pytest.raises(ValueError, match="need images"):
        initialize_from_activations(_model(), [])


def test_of_what_isnt_finite_nothing_is_made():
    model = _model()
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(UserError, match=r"at 'blocks\.0\.norm1' are NaN or infinite"):
        initialize_from_activations(model, [IMAGES.double() * torch.inf])
    assert all(map(torch.equal, model.parameters(), before))
