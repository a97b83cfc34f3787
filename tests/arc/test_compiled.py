"""Adapted models that are traced, and models that were compiled before they were adapted."""

import copy

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch import nn

from arcvit import ArcConfig
from arcvit.arc.fingerprint import fingerprint


@pytest.fixture
def plain(tiny_vit) -> nn.Module:
    torch.manual_seed(0)
    return tiny_vit(num_classes=5).eval()


def adapted(model: nn.Module) -> PeftModel:
    config = ArcConfig(r=4, init_weights=False, modules_to_save=["head"])
    return get_peft_model(model, config).eval()


@pytest.mark.filterwarnings("ignore")  # torch's own, of tracing
@torch.no_grad()
def test_a_traced_model_takes_any_batch(plain: nn.Module) -> None:
    model = adapted(plain)
    traced = torch.jit.trace(model, torch.randn(2, 3, 32, 32))
    for rows in (1, 7):
        x = torch.randn(rows, 3, 32, 32)
        torch.testing.assert_close(traced(x), model(x), rtol=1e-4, atol=1e-5)


def compiled(model: nn.Module, what: str) -> nn.Module:
    model = copy.deepcopy(model)
    if what == "blocks":
        for index, block in enumerate(model.blocks):
            model.blocks[index] = torch.compile(block, backend="eager")
        return model
    return torch.compile(model, backend="eager") if what == "whole" else model


@torch.no_grad()
@pytest.mark.slow
@pytest.mark.parametrize("loaded_onto", ["whole", "blocks", "nothing"])
@pytest.mark.parametrize("what", ["whole", "blocks"])
def test_a_model_compiled_first_saves_plain_names(
    plain: nn.Module, what: str, loaded_onto: str, tmp_path
) -> None:
    x = torch.randn(2, 3, 32, 32)
    backbone = compiled(plain, what)
    assert fingerprint(backbone) == fingerprint(plain)
    before = backbone(x)  # what was compiled of the plain model must not be used any more
    model = adapted(backbone)
    expected = model(x)
    assert not torch.allclose(expected, before, atol=1e-3)
    assert not any("_orig_mod" in name for name in model.state_dict())
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(compiled(plain, loaded_onto), str(tmp_path)).eval()
    torch.testing.assert_close(loaded(x), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.merge_and_unload()(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_what_was_compiled_is_compiled_still(plain: nn.Module) -> None:
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]):
        graphs.append(graph)
        return graph.forward

    model = adapted(torch.compile(plain, backend=backend))
    model(torch.randn(2, 3, 32, 32))
    assert graphs
