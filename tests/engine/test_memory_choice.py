"""The fastest mode that fits, on models that run out of memory in some modes."""

import pytest
import timm
import torch
from torch import Tensor, nn

from arcvit.core.errors import UserError
from arcvit.engine.config import EngineConfig
from arcvit.engine.device import make_accelerator
from arcvit.engine.features import FeatureBank
from arcvit.engine.learner import Learner
from arcvit.engine.memory import recomputing
from arcvit.engine.memory_choice import fastest_that_fits

TINY = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}


class Tight(nn.Module):
    """A ViT on a device on which only some modes fit."""

    def __init__(self, *fitting: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.vit = timm.create_model(
            "vit_tiny_patch16_224", num_classes=3, proj_drop_rate=0.1, **TINY
        )
        self.fitting = fitting
        self.tried: list[str] = []
        self.batch = 0

    def forward(self, x: Tensor) -> Tensor:
        mode = "fast"
        if "forward" in vars(self.vit.blocks[0].mlp):
            mode = "lean"
        elif self.vit.grad_checkpointing:
            mode = "min"
        self.tried.append(mode)
        self.batch = len(x)
        if mode not in self.fitting:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return self.vit(x)


@pytest.fixture
def chosen():
    accelerator = make_accelerator(EngineConfig(precision="fp32", device="cpu"), 0)
    images = FeatureBank(torch.randn(6, 3, 32, 32), torch.tensor([0, 1, 2, 0, 1, 2]))
    return lambda model, batch_size=4: fastest_that_fits(
        Learner(
            model=model,
            head=model,
            train=images,
            training_input=lambda stored: stored,
            val=None,
            evaluation_input=lambda stored: stored,
        ),
        accelerator,
        batch_size=batch_size,
    )


@pytest.mark.parametrize(
    ("fitting", "expected"),
    [
        (("fast", "lean", "min"), "fast"),
        (("lean", "min"), "lean"),
        (("min",), "min"),
        (("fast",), "fast"),
    ],
)
def test_the_fastest_that_fits(chosen, fitting, expected):
    model = Tight(*fitting)
    assert chosen(model) == expected
    assert model.tried[-1] == expected


@pytest.mark.parametrize(("batch_size", "tried"), [(4, 4), (64, 6)])
def test_a_whole_batch_is_tried(chosen, batch_size, tried):
    model = Tight("fast")
    chosen(model, batch_size)
    assert model.batch == tried


@pytest.mark.slow
def test_nothing_is_learned_drawn_or_left_behind(chosen):
    model = Tight("min").eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    chosen(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.vit.grad_checkpointing
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.slow
def test_none_that_fits_is_refused(chosen):
    with pytest.raises(UserError, match=r"a batch of 4 images doesn't fit cpu in any memory mode"):
        chosen(Tight())


def test_a_mode_that_finds_nothing_in_a_model_is_passed_over(chosen):
    class Head(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    head = nn.Sequential(nn.Flatten(), Head(3 * 32 * 32, 3))
    with pytest.raises(UserError, match="memory lean finds no"), recomputing(head, "lean"):
        pass
    with pytest.raises(UserError, match=r"lower --engine\.batch_size"):
        chosen(head)
