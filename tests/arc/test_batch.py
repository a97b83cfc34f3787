"""Many tasks in one batch: every row equals the run of its own adapter alone."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import timm
import torch
from peft import get_peft_model
from torch import nn

from arcvit import ArcConfig
from arcvit.arc.call import current_call
from arcvit.arc.layer import ArcLayer

NAMES = ["first", "wide", "borrower", "att-only", "no-bias", "headless"]
CLASSES = {"first": 5, "wide": 9, "borrower": 3, "att-only": 5, "no-bias": 2}
SWIN = {"img_size": 36, "window_size": 4, "embed_dim": 16, "depths": (1, 1), "num_heads": (2, 2)}


def vit() -> nn.Module:
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2,
        num_classes=5,
    )  # fmt: skip


def swin() -> nn.Module:
    return timm.create_model("swin_tiny_patch4_window7_224", num_classes=5, **SWIN)


def with_tasks(backbone: nn.Module, head: str) -> nn.Module:
    def config(name: str, **settings) -> ArcConfig:
        saved = [head] if name in CLASSES else None
        return ArcConfig(
            **{"r": 4, "modules_to_save": saved, "num_classes": CLASSES.get(name), **settings}
        )

    torch.manual_seed(0)
    model = get_peft_model(backbone, config("first"), adapter_name="first")
    model.add_adapter("wide", config("wide", r=7))
    model.add_adapter("borrower", config("borrower", projection="first"))
    model.add_adapter("att-only", config("att-only", variant="arc_att", up_projection="separate"))
    model.add_adapter("no-bias", config("no-bias", adapter_bias=False, share="all"))
    model.add_adapter("headless", config("headless", layers_to_transform=[1]))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_((0.3 if ".arc_" in name else 0.05) * noise)
    return model.eval()


BACKBONES = {"vit": (vit, "head", 32), "swin-padded-windows": (swin, "head.fc", 36)}


@pytest.fixture(params=BACKBONES)
def tasks(request: pytest.FixtureRequest) -> tuple[nn.Module, torch.Tensor]:
    build, head, size = BACKBONES[request.param]
    rows = ["first", "wide", "__base__", "borrower", "att-only", "no-bias", "headless", "wide"]
    images = torch.randn(len(rows), 3, size, size, generator=torch.Generator().manual_seed(2))
    model = with_tasks(build(), head)
    model.rows = rows
    return model, images


@torch.no_grad()
def alone(model: nn.Module, image: torch.Tensor, name: str) -> torch.Tensor:
    if name == "__base__":
        with model.disable_adapter():
            return model(image[None])[0]
    model.set_adapter(name)
    return model(image[None])[0]


@torch.no_grad()
def test_every_row_runs_with_its_own_adapter_and_head(tasks) -> None:
    model, images = tasks
    mixed = model(images, adapter_names=model.rows)
    assert mixed.shape == (8, 9)
    split = model.split_logits(mixed, model.rows)
    for row, name in enumerate(model.rows):
        expected = alone(model, images[row], name)
        size = len(expected)
        torch.testing.assert_close(mixed[row, :size], expected, rtol=1e-5, atol=1e-5)
        assert torch.isneginf(mixed[row, size:]).all()
        assert torch.equal(split[row], mixed[row, :size])


@torch.no_grad()
def test_rows_that_share_one_projection_multiply_by_it_once(monkeypatch) -> None:
    model = with_tasks(vit(), "head")
    images = torch.randn(4, 3, 32, 32)
    down_shapes = []
    original = ArcLayer.adapt

    def spy(self, x, **kwargs):
        if rows := current_call().rows_at(self):
            down_shapes.append(tuple(rows.down.shape))
        return original(self, x, **kwargs)

    monkeypatch.setattr(ArcLayer, "adapt", spy)
    model(images, adapter_names=["first", "borrower", "first", "borrower"])
    assert set(down_shapes) == {(32, 4)}, "one matrix for the whole batch"
    down_shapes.clear()
    model(images, adapter_names=["first", "wide", "__base__", "first"])
    assert set(down_shapes) == {(4, 32, 7)}, "one a row, padded to the largest rank"


def test_projections_are_gathered_once_for_all_layers_that_share_them(monkeypatch) -> None:
    model = with_tasks(vit(), "head")
    downs = []
    original = ArcLayer.adapt

    def spy(self, x, **kwargs):
        downs.append(current_call().rows_at(self).down.data_ptr())
        return original(self, x, **kwargs)

    monkeypatch.setattr(ArcLayer, "adapt", spy)
    with torch.no_grad():
        model(torch.randn(2, 3, 32, 32), adapter_names=["first", "wide"])
    assert len(downs) == 4
    assert len(set(downs)) == 2, "one for the MHA sites, one for the FFN sites"


@torch.no_grad()
def test_the_batch_leaves_no_trace(tasks) -> None:
    model, images = tasks
    model.set_adapter("first")
    before = model(images)
    model(images, adapter_names=model.rows)
    assert torch.equal(model(images), before)
    assert current_call() is None


class Boom(Exception):
    pass


@torch.no_grad()
def test_an_error_inside_the_batch_leaves_no_trace(tasks) -> None:
    model, images = tasks
    before = model(images)

    def explode(*_):
        raise Boom

    hook = model.get_base_model().get_classifier().register_forward_pre_hook(explode)
    with pytest.raises(Boom):
        model(images, adapter_names=model.rows)
    hook.remove()
    assert torch.equal(model(images), before)
    assert current_call() is None


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["first"], "1 names for a batch of 4 rows"),
        (["first"] * 8, "8 names for a batch of 4 rows"),
        (["first", "frist", "wide", "wide"], "unknown adapter.* 'frist': expected '__base__' or"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(rows: list[str], said: str) -> None:
    model = with_tasks(vit(), "head")
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        before = model(images)
        with pytest.raises(ValueError, match=said):
            model(images, adapter_names=rows)
        assert torch.equal(model(images), before)


def test_a_mixed_batch_is_for_inference() -> None:
    model = with_tasks(vit(), "head").train()
    with pytest.raises(ValueError, match=r"model\.eval\(\)"):
        model(torch.randn(1, 3, 32, 32), adapter_names=["first"])
    assert model.eval()(torch.randn(1, 3, 32, 32)).shape == (1, 5)


def test_folded_adapters_can_not_be_mixed() -> None:
    model = with_tasks(vit(), "head")
    model.merge_adapter(["first"])
    with pytest.raises(ValueError, match="unmerge"):
        model(torch.randn(1, 3, 32, 32), adapter_names=["first"])


@pytest.mark.slow
def test_a_borrower_learns_coefficients_and_bias_alone() -> None:
    backbone = timm.create_model("vit_base_patch16_224", num_classes=0)
    model = get_peft_model(backbone, ArcConfig(), adapter_name="task-a")
    model.add_adapter("task-b", ArcConfig(projection="task-a"))
    model.add_adapter("task-c", ArcConfig(projection="task-a", adapter_bias=False))
    for name, expected in (("task-a", 96_432), ("task-b", 19_632), ("task-c", 1_200)):
        model.set_adapter(name)
        assert sum(p.numel() for p in model.parameters() if p.requires_grad) == expected


def test_a_lender_is_not_deleted_while_its_projections_are_used(tmp_path) -> None:
    model = with_tasks(vit(), "head")
    with pytest.raises(ValueError, match="'borrower': delete those first"):
        model.delete_adapter("first")
    model.set_adapter("borrower")
    model.save_pretrained(tmp_path, selected_adapters=["borrower"])
    fresh = get_peft_model(vit(), ArcConfig(r=4), adapter_name="other")
    with pytest.raises(ValueError, match="'first' names an adapter that isn't loaded"):
        fresh.load_adapter(str(tmp_path / "borrower"), adapter_name="borrower")


def test_a_borrower_must_agree_with_the_lender() -> None:
    model = get_peft_model(vit(), ArcConfig(r=4, variant="arc_att"), adapter_name="lender").eval()
    images = torch.randn(2, 3, 32, 32)
    before, parameters = model(images), dict(model.named_parameters())
    with pytest.raises(ValueError, match="r=5 disagrees with the projection of adapter 'lender'"):
        model.add_adapter("borrower", ArcConfig(r=5, projection="lender", variant="arc_att"))
    with pytest.raises(ValueError, match=r"has no projection at 'blocks.0.norm2'"):
        model.add_adapter("borrower-2", ArcConfig(r=4, projection="lender"))
    assert torch.equal(model(images), before)
    assert dict(model.named_parameters()).keys() == parameters.keys(), "left half-added"
    assert list(model.peft_config) == ["lender"]


THREADED = {
    vit: {"r": 4, "modules_to_save": ["head"]},
    swin: {"r": 4, "ffn_placement": "residual"},
}


@pytest.mark.parametrize("backbone", [vit, swin])
def test_calls_from_several_threads_do_not_meet(backbone) -> None:
    names = [f"task{i}" for i in range(4)]
    model = get_peft_model(backbone(), ArcConfig(**THREADED[backbone]), adapter_name=names[0])
    for name in names[1:]:
        model.add_adapter(name, ArcConfig(**THREADED[backbone]))
    torch.manual_seed(1)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if ".arc_" in key or "modules_to_save" in key:
                parameter.normal_(std=0.3)
    model.eval()
    side = 36 if backbone is swin else 32
    images = torch.randn(2, 3, side, side)

    @torch.inference_mode()
    def ask(name: str) -> torch.Tensor:
        return model(images, adapter_names=[name, name])

    expected = {name: ask(name) for name in names}
    with ThreadPoolExecutor(len(names)) as pool:
        asked = names * 20
        for name, found in zip(asked, pool.map(ask, asked), strict=True):
            torch.testing.assert_close(found, expected[name])
