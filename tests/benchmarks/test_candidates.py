"""The candidates: they start as the backbone, train what they say, and are the maps they name."""

import sys
from functools import partial
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from arcvit.arc.activations import initialize_from_activations
from arcvit.arc.options import ArcOptions
from arcvit.core.errors import UserError
from arcvit.engine.compile import compiled_blocks
from arcvit.engine.frozen import FrozenWeights
from arcvit.engine.groups import parameters_by_part
from arcvit.engine.step import Step
from arcvit.methods.arc import build as build_arc
from arcvit.recipe.outcome import parameter_counts

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # last: its names are short

import candidate_layers
import candidates

IMAGES = torch.randn(12, 3, 16, 16, generator=torch.Generator().manual_seed(3))
KINDS = {
    name: value
    for name, value in vars(candidates).items()
    if isinstance(value, candidates.MethodSpec) and not name.startswith("ARC")
}


def _backbone(width=16, depth=2):
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_tiny_patch16_224",
        num_classes=3,
        img_size=16,
        patch_size=8,
        embed_dim=width,
        depth=depth,
        num_heads=2,
    )
    for name, parameter in model.named_parameters():
        if "norm" in name:
            nn.init.normal_(parameter, mean=1.0 if name.endswith("weight") else 0.0, std=0.3)
    return model.double()


def _candidate(spec, *, start=True, **options):
    options = {"r": 3, **options}
    values = spec.make_options(options)
    model = spec.build(_backbone(), values, "head").double().eval()
    if start:
        spec.start(model, values, IMAGES.double().split(5))
    return model


def _shake(model, std=0.1):
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(std * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("name", KINDS)
def test_it_starts_as_the_backbone_and_all_that_it_trains_gets_a_gradient(name):
    model = _candidate(KINDS[name])
    x = IMAGES.double()
    with torch.no_grad():
        torch.testing.assert_close(model(x), _backbone().eval()(x), rtol=0, atol=1e-12)
    trained = {n: p for n, p in _shake(model).named_parameters() if p.requires_grad}
    model(x).square().sum().backward()
    assert [n for n, p in trained.items() if p.grad is None or not p.grad.any()] == []
    head = model.base_model.model.head
    assert "other" not in parameters_by_part(model, head, KINDS[name].parts)
    with torch.autocast("cpu", torch.bfloat16):
        low = model.float()(IMAGES)
    torch.testing.assert_close(low.double(), model.double()(x), rtol=0.1, atol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "count", "fixed"),
    [
        ("CONSUMER_CORES", {}, 19_800, 2 * 192 * 27),
        ("CONSUMER_CORES", {"r": 40}, 40_704, 2 * 192 * 40),
        ("FROZEN_CORES", {}, 20_556, 2 * 192 * 39),
        ("WHITENED_CORES", {}, 20_556, 4 * 192 * 39),
        ("OUTPUT_BASIS", {}, 20_556, 4 * 192 * 39),
        # 41 x 41 and 41 a site, and one factor of the mean, which is stored at each.
        ("BIAS_IN_BASIS", {}, 20_664 + 12, 2 * 192 * 41 + 12 * 192),
        ("PLUS_BIAS_IN_BASIS", {}, 20_304, 0),
        ("DIRECTIONS", {}, 4_608, 2 * 192 * 192),
        ("PLUS", {}, 20_520, 0),
        ("PLUS_FROZEN", {}, 5_544, 14_976),
    ],
)
def test_how_many_numbers_it_trains_and_keeps(name, options, count, fixed):
    spec = KINDS[name]
    with torch.device("meta"):
        backbone = timm.create_model(
            "vit_tiny_patch16_224", num_classes=3, depth=6, img_size=16, patch_size=8
        )
        model = spec.build(backbone, spec.make_options(options), "head")
    counts = parameter_counts(model, parameters_by_part(model, model.base_model.model.head))
    assert counts["adapter"] == count
    assert counts["stored"] - count == fixed


@torch.no_grad()
def test_cores_of_consumers_are_the_folded_weights():
    model = _shake(_candidate(candidates.CONSUMER_CORES), std=1.0)
    basis = {}
    plain = _backbone().eval()
    for name, layer in candidate_layers.consumers_of(model.base_model.model).items():
        for held in layer.cores_basis.values():
            basis[layer.consumers] = held
        down = basis[layer.consumers]
        cores, bias = layer.cores_matrix["default"], layer.cores_bias["default"]
        folded = plain.get_submodule(name)
        parts = folded.weight.chunk(layer.consumers)
        eye = torch.eye(16, dtype=torch.float64)
        folded.bias += folded.weight @ bias
        folded.weight.copy_(
            torch.cat(
                [w @ (eye + down @ m @ down.mT).mT for w, m in zip(parts, cores, strict=True)]
            )
        )
    plain.head.load_state_dict(model.base_model.model.head.modules_to_save["default"].state_dict())
    x = IMAGES.double()
    assert not torch.allclose(model(x), _backbone().eval()(x), atol=0.1)
    torch.testing.assert_close(model(x), plain(x), rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("name", [n for n in KINDS if n != "CONSUMER_CORES"])
def test_the_others_fold_exactly(name):
    model = _shake(_candidate(KINDS[name]))
    before = model(IMAGES.double())
    model.merge_adapter()
    torch.testing.assert_close(model(IMAGES.double()), before, rtol=0, atol=1e-12)


@torch.no_grad()
def test_a_bias_in_the_basis_is_what_it_says():
    model = _shake(_candidate(candidates.BIAS_IN_BASIS), std=1.0)
    plain, x = _backbone().eval(), torch.randn(4, 5, 16, dtype=torch.float64)
    block = model.base_model.model.blocks[1]
    down = model.base_model.model.blocks[0].norm2.arc_projection["default"]
    site, n = block.norm2, plain.blocks[1].norm2(x)
    core, beta = site.arc_coefficients["default"], site.arc_beta["default"]
    shift, mean = site.arc_shift["default"], site.arc_mean["default"]
    assert mean.square().mean().item() == pytest.approx(1.0)
    expected = n + n @ down @ core @ down.mT + down @ beta + shift * mean
    torch.testing.assert_close(site(x), expected, rtol=0, atol=1e-12)


@torch.no_grad()
def test_where_the_bases_come_from(tmp_path):
    arc = build_arc(_backbone(), ArcOptions(r=3, projection_init="activations"), "head").double()
    initialize_from_activations(arc, IMAGES.double().split(5))
    expected = arc.base_model.model.blocks[0].norm2.arc_projection["default"]

    def factors(spec, **options):
        model = _candidate(spec, **options)
        return model.base_model.model.blocks[1].norm2.factors("default")

    torch.testing.assert_close(factors(candidates.FROZEN_CORES).down, expected)
    found = candidate_layers.directions_of(_backbone(), IMAGES.double().split(5))["ffn"]
    whitened = factors(candidates.WHITENED_CORES)
    torch.testing.assert_close(whitened.up.mT, expected)
    covariance = found.vectors @ found.variances.diag() @ found.vectors.mT
    of_u = whitened.down.mT @ covariance @ whitened.down
    torch.testing.assert_close(of_u, torch.eye(3, dtype=torch.float64))
    up = factors(candidates.OUTPUT_BASIS).up
    weights = torch.cat([block.mlp.fc1.weight for block in _backbone().blocks])
    _, _, directions = torch.linalg.svd(weights)
    torch.testing.assert_close((up @ directions[:3].mT).abs(), torch.eye(3, dtype=torch.float64))
    # Of other photos, in place of the task's.
    other = torch.linalg.qr(torch.randn(16, 16, dtype=torch.float64))[0]
    file = tmp_path / "basis.pt"
    torch.save({"att": other, "ffn": other}, file)
    for spec in (candidates.FROZEN_CORES, candidates.PLUS, candidates.DIRECTIONS):
        assert torch.equal(factors(spec, basis=str(file)).down, other[:, :3])
    cores = _candidate(candidates.CONSUMER_CORES, basis=str(file)).base_model.model.blocks
    assert torch.equal(cores[0].mlp.fc1.cores_basis["default"], other[:, :3])
    assert torch.equal(cores[1].mlp.fc1._down, other[:, :3])


@pytest.mark.parametrize(
    ("source", "sentence"),
    [("nowhere", "neither a folder nor a tar"), ("a.txt", "nor a tar"), (".", "holds no photos")],
)
def test_a_basis_needs_photos(tmp_path, source, sentence):
    (tmp_path / "a.txt").write_text("no tar")
    with pytest.raises(UserError, match=sentence):
        list(candidates._photos(tmp_path / source, 4))


@pytest.mark.slow
# Dynamo looks at the gradient of tensors that are no leaves, and hides the warning itself.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
@pytest.mark.parametrize("name", ["CONSUMER_CORES", "BIAS_IN_BASIS", "PLUS_BIAS_IN_BASIS"])
def test_compiled_steps_in_bf16_equal_eager_ones_without_a_graph_break(name):
    labels = torch.arange(len(IMAGES)) % 3

    def losses(compiled):
        model = _shake(_candidate(KINDS[name], dropout=0.0)).float().train()
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
        step = Step(model=model, optimizer=optimizer, clip_grad=1.0)
        step.autocast = partial(torch.autocast, "cpu", dtype=torch.bfloat16)
        with FrozenWeights(model, torch.bfloat16).cast():
            if not compiled:
                return [step(IMAGES, labels)[0].item() for _ in range(4)]
            with compiled_blocks(model, backend="aot_eager") as compile_function:
                step.make = compile_function(step.make)
                return [step(IMAGES, labels)[0].item() for _ in range(4)]

    torch._dynamo.reset()
    eager = losses(compiled=False)
    assert eager[-1] < eager[0]
    assert losses(compiled=True) == pytest.approx(eager, rel=0.02)
