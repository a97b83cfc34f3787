"""Sites that a user names, and models or configs that can't carry an adapter."""

import pytest
import torch
from peft import get_peft_model
from torch import nn

from arcvit import ArcConfig
from arcvit.core.errors import UserError

R = 3
CLASSES = 5


def randomise(model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))


class Stranger(nn.Module):
    """A block of no known family."""

    def __init__(self) -> None:
        super().__init__()
        self.LayerNorm_a = nn.LayerNorm(8)
        self.to_mix = nn.Linear(8, 8)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x + self.to_mix(self.LayerNorm_a(x)))


def test_an_unknown_family_lists_candidates_and_a_config_that_works() -> None:
    model = Stranger()
    with pytest.raises(UserError) as caught:
        get_peft_model(model, ArcConfig(r=R))
    sentence = str(caught.value)
    shown = "ArcConfig(consumers={'LayerNorm_a': ['to_mix']})"
    for part in ("Stranger", "LayerNorm_a", "to_mix", shown):
        assert part in sentence
    config = eval(shown, {"ArcConfig": ArcConfig})  # what the error says must work
    config.r = R
    fixed = get_peft_model(Stranger().eval(), config).eval()
    randomise(fixed)
    x = torch.randn(4, 8)
    before = fixed(x)
    fixed.merge_adapter()
    torch.testing.assert_close(fixed(x), before)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"target_modules": ["patch_embed.proj"]}, "can't carry an adapter"),
        ({"consumers": {"norm1": ["attn.nothing"]}}, "is not a linear layer of this model"),
        ({"consumers": {"norm1": []}}, "name at least one linear layer"),
        ({"consumers": {"norm1": ["attn.qkv", "mlp.fc2"]}}, "different widths"),
        ({"r": 33}, "r=33 is larger than the width 32"),
        ({"r": 0}, "r=0 is not a bottleneck width"),
        ({"arc_dropout": 1.0}, "arc_dropout=1.0 is out of range"),
        ({"variant": "arc_at"}, "Did you mean 'arc_att'"),
        ({"bias": "arc"}, "expected one of none, all, arc_only"),
        ({"projection": "task-a"}, "isn't loaded: load it first"),
        ({"rank_pattern": {"norm1": 0}}, "norm1=0 is not a bottleneck width"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(config: dict, said: str, tiny_vit) -> None:
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        get_peft_model(tiny_vit(), ArcConfig(**{"r": R, **config}))
