"""Compiled blocks, frozen weights in another precision, and a whole step."""

from functools import partial

import pytest
import timm
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from arcvit import ArcConfig
from arcvit.engine.compile import compiled_blocks, repeated_blocks
from arcvit.engine.drop_path import probabilities_in_tensors
from arcvit.engine.frozen import FrozenWeights
from arcvit.engine.memory import recomputing
from arcvit.engine.step import Step
from arcvit.methods.tuners.vpt import VptConfig

# Dynamo looks at the gradient of tensors that are no leaves, and hides the warning itself.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")

TINY = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
SWIN = {
    "drop_path_rate": 0.0,
    "img_size": 32,
    "patch_size": 2,
    "window_size": 4,
    "embed_dim": 8,
    "num_heads": (1, 2),
}
AUTOCAST = partial(torch.autocast, "cpu", dtype=torch.bfloat16)


def _vit():
    return timm.create_model("vit_tiny_patch16_224", num_classes=3, **TINY)


def _swin():
    return timm.create_model("swin_tiny_patch4_window7_224", num_classes=3, depths=(2, 2), **SWIN)


def _hf_vit():
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.ViTConfig(
        image_size=16, patch_size=8, intermediate_size=32, num_labels=3, **sizes
    )
    return transformers.ViTForImageClassification(config)


class _Logits(nn.Module):
    """transformers' models give an output object."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixels):
        found = self.model(pixels)
        return getattr(found, "logits", found)


def _arc(backbone, **options):
    config = ArcConfig(r=4, init_weights=False, arc_dropout=0.0, **options)
    return get_peft_model(backbone, config)


def _lora(backbone):
    return get_peft_model(backbone, LoraConfig(r=2, target_modules=["qkv", "fc1"]))


def _losses(make, images, labels, *, compiled, autocast):
    torch.manual_seed(0)
    model = _Logits(make()).train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    step = Step(model=model, optimizer=optimizer, clip_grad=1.0)
    if autocast:
        step.autocast = AUTOCAST
    if not compiled:
        return [step(images, labels)[0].item() for _ in range(3)]
    with compiled_blocks(model, backend="aot_eager") as compile_function:
        step.make = compile_function(step.make)
        return [step(images, labels)[0].item() for _ in range(3)]


@pytest.mark.slow
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize(
    ("make", "side"),
    [
        pytest.param(lambda: _arc(_vit()), 16, id="arc-vit"),
        pytest.param(lambda: _arc(_swin()), 32, id="arc-swin"),
        pytest.param(lambda: _arc(_hf_vit()), 16, id="arc-hf-vit"),
        pytest.param(lambda: _lora(_vit()), 16, id="lora-vit"),
    ],
)
def test_compiled_steps_equal_eager_ones_without_a_graph_break(make, side, autocast):
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    images, labels = torch.randn(2, 3, side, side), torch.tensor([0, 2])
    eager = _losses(make, images, labels, compiled=False, autocast=autocast)
    compiled = _losses(make, images, labels, compiled=True, autocast=autocast)
    worst = max(abs(a - b) / abs(b) for a, b in zip(compiled, eager, strict=True))
    breaks = sum(torch._dynamo.utils.counters["graph_break"].values())
    print(f"losses deviate by {worst:.1e} of their value; {breaks} graph breaks")
    assert worst < (0.02 if autocast else 1e-4)
    assert breaks == 0


@pytest.mark.slow
def test_two_methods_in_one_process_stay_compiled():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    images, labels = torch.randn(2, 3, 16, 16), torch.tensor([0, 2])
    for make in (lambda: _arc(_vit()), lambda: _lora(_vit()), lambda: _arc(_vit())):
        _losses(make, images, labels, compiled=True, autocast=False)
    assert not torch._dynamo.utils.counters["graph_break"]


def _unique_graphs():
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


@pytest.mark.slow
def test_blocks_that_drop_paths_with_probabilities_of_their_own_compile_once():
    torch._dynamo.reset()
    images, labels = torch.randn(2, 3, 16, 16), torch.tensor([0, 2])
    counts = []
    for depth in (3, 5):
        sizes = TINY | {"depth": depth, "drop_path_rate": 0.3}
        before = _unique_graphs()
        model = timm.create_model("vit_tiny_patch16_224", num_classes=3, **sizes)
        losses = _losses(lambda m=model: _arc(m), images, labels, compiled=True, autocast=False)
        counts.append(_unique_graphs() - before)
        # timm's own again, each with its probability.
        drops = [block.drop_path1.drop_prob for block in model.blocks[1:]]
        assert drops == sorted(set(drops))
        assert type(model.blocks[1].drop_path1).__module__.startswith("timm")
        assert all(torch.isfinite(torch.tensor(losses)))
    assert counts[1] <= 1  # what makes the projections of five blocks


def test_a_dropped_path_is_made_up_for():
    module = timm.layers.DropPath(0.25)
    x = torch.ones(4000, 2, 3)
    with probabilities_in_tensors(nn.Sequential(module)):
        dropped = module(x)
        assert torch.equal(module.eval()(x), x)
    rows = dropped[:, 0, 0]
    assert torch.equal(dropped, rows[:, None, None].expand_as(x))
    assert sorted(set(rows.tolist())) == pytest.approx([0, 1 / 0.75])
    assert rows.mean().item() == pytest.approx(1, abs=0.05)
    assert not list(module.buffers())


@pytest.mark.slow
def test_lean_keeps_less_for_the_backward_pass():
    images, labels = torch.randn(2, 3, 16, 16), torch.tensor([0, 2])

    def kept(memory):
        torch.manual_seed(0)
        model, sizes = _arc(_vit()).train(), []
        trained = [p for p in model.parameters() if p.requires_grad]
        step = Step(model=model, optimizer=torch.optim.SGD(trained, lr=0.1))
        with recomputing(model, memory), compiled_blocks(model, backend="aot_eager", memory=memory):
            step(images, labels)
            with torch.autograd.graph.saved_tensors_hooks(
                lambda t: (sizes.append(t.nbytes), t)[1], lambda t: t
            ):
                loss, _ = step(images, labels)
        return sum(sizes), loss.item()

    (fast, one), (lean, other) = kept("fast"), kept("lean")
    assert lean < 0.9 * fast
    assert one == pytest.approx(other)


def _vpt():
    return get_peft_model(_vit(), VptConfig(prompts=2))


@pytest.mark.parametrize(
    ("make", "blocks"),
    [
        (lambda: _vit().requires_grad_(False), 2),
        (lambda: _swin().requires_grad_(False), 4),
        (lambda: _hf_vit().requires_grad_(False), 2),
        (lambda: _arc(_vit()), 2),  # of which one holds the projections of both
        (lambda: _arc(_vit(), train_projection=False), 2),
        (_vpt, 2),
        (_vit, 2),  # all of it is trained
        (lambda: nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), 0),
    ],
)
def test_the_blocks_a_model_repeats(make, blocks):
    assert len(repeated_blocks(make())) == blocks


def test_blocks_run_as_before_after_the_context():
    model = _vit().requires_grad_(False)
    with pytest.raises(KeyError), compiled_blocks(model, backend="eager"):
        assert model.blocks[0]._compiled_call_impl is not None
        raise KeyError
    assert all(block._compiled_call_impl is None for block in model.blocks)


def test_frozen_weights_in_bf16_change_no_bit_under_autocast_and_come_back():
    torch.manual_seed(0)
    model, images = _arc(_vit()), torch.randn(2, 3, 16, 16)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    with AUTOCAST():
        expected = model(images)
    with pytest.raises(KeyError), FrozenWeights(model, torch.bfloat16).cast():
        dtypes = {n: p.dtype for n, p in model.named_parameters()}
        with AUTOCAST():
            found = model(images)
        raise KeyError
    assert torch.equal(found, expected)
    cast = {name for name, dtype in dtypes.items() if dtype == torch.bfloat16}
    assert cast == {n for n in before if n.endswith(("weight", "bias")) and _is_linear(n)}
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]), name


def _is_linear(name):
    return any(part in name for part in ("qkv", ".proj.", "fc1", "fc2", ".head."))


def test_rows_of_padding_count_for_nothing():
    torch.manual_seed(0)
    model = _arc(_vit())
    trained = [p for p in model.parameters() if p.requires_grad]
    images, labels = torch.randn(3, 3, 16, 16), torch.tensor([0, 2, 1])
    found = []
    for batch in (
        (images, labels),
        (torch.cat([images, images]), torch.cat([labels, labels - 200])),
    ):
        pixels, of_batch = batch[0], batch[1].clamp(min=-100)
        step = Step(model=model, optimizer=torch.optim.SGD(trained, lr=0.0))
        loss, correct = step(pixels, of_batch)
        found.append((loss.item(), correct.item()))
    assert found[0] == pytest.approx(found[1])
