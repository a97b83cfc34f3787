"""Memory modes: the same gradients, less kept."""

import pytest
import timm
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from arcvit import ArcConfig
from arcvit.core.errors import UserError
from arcvit.engine.memory import recomputing

TINY = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 2}


def _adapted(method, **backbone):
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=3, **TINY, **backbone)
    if method in ("arc", "around"):
        sites = "both" if method == "around" else "before"
        config = ArcConfig(
            r=4,
            arc_dropout=0.2,
            coefficients_init="xavier",
            sites=sites,
            modules_to_save=["head"],
        )
        return get_peft_model(model, config).train()
    if method == "lora":
        targets = ["qkv", "fc1"]
        return get_peft_model(model, LoraConfig(target_modules=targets, lora_dropout=0.1)).train()
    return model.train()


def _step(model, memory, *, autocast=False):
    """Gradients of all parameters, and the bytes kept for them."""
    torch.manual_seed(1)
    owned = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in owned:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()

    images = torch.randn(2, 3, 32, 32)
    with recomputing(model, memory):
        with (
            torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
            torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast),
        ):
            loss = model(images).float().square().sum()
        loss.backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return gradients, sum(kept.values())


@pytest.mark.parametrize("method", ["arc", "around", "lora", "full"])
@pytest.mark.parametrize("autocast", [False, True])
def test_modes_give_the_same_gradients_and_keep_less(method, autocast):
    model = _adapted(method)
    expected, fast = _step(model, "fast", autocast=autocast)
    kept = [fast]
    for memory in ("lean", "min"):
        found, size = _step(model, memory, autocast=autocast)
        torch.testing.assert_close(found, expected)
        kept.append(size)
    assert kept[0] > kept[1] > kept[2]


def test_lean_gives_the_hidden_activations_back_whatever_the_mlp():
    model = _adapted("arc", scale_mlp_norm=True, proj_drop_rate=0.1)
    expected, fast = _step(model, "fast")
    found, lean = _step(model, "lean")
    torch.testing.assert_close(found, expected)
    assert lean < fast


@pytest.mark.parametrize("memory", ["lean", "min"])
def test_a_model_is_as_before_afterwards(memory):
    model = _adapted("arc")
    before = {name: dict(vars(module)) for name, module in model.named_modules()}
    with pytest.raises(RuntimeError, match="stop"), recomputing(model, memory):
        raise RuntimeError("stop")
    for name, module in model.named_modules():
        assert vars(module).keys() == before[name].keys()
    assert not model.get_base_model().grad_checkpointing


class _Plain(nn.Module):
    """Blocks in a list, without a way of its own to checkpoint them."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(4, 64), nn.GELU(), nn.Linear(64, 4)) for _ in range(3)
        )

    def forward(self, x):
        for block in self.blocks:
            x = x + block(x)
        return x


def test_min_checkpoints_the_blocks_of_a_model_that_cannot_itself():
    torch.manual_seed(0)
    model, x = _Plain(), torch.randn(5, 4)
    model(x).square().sum().backward()
    expected = [p.grad for p in model.parameters()]
    model.zero_grad()
    with recomputing(model, "min"):
        model(x).square().sum().backward()
    torch.testing.assert_close([p.grad for p in model.parameters()], expected)


@pytest.mark.parametrize("memory", ["lean", "min"])
def test_a_model_without_blocks_is_refused(memory):
    with (
        pytest.raises(UserError, match=f"memory {memory} finds no"),
        recomputing(nn.Linear(2, 2), memory),
    ):
        pass
