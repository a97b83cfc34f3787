"""Models whose consumers don't take exactly what a norm gives: moved, refused, or right."""

import warnings

import pytest
import timm
import torch
import torch.nn.functional as F
from peft import PeftModel, get_peft_model
from timm.models.vision_transformer import Block as TimmBlock
from torch import nn

from arcvit import ArcConfig
from arcvit.arc.layer import ArcLayer

D = 16


class Attention(nn.Module):
    """Stands for an attention: it mixes tokens, and so shows what its padding holds."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(D, D)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed = self.qkv(x).softmax(1)
        return mixed + mixed.mean(1, keepdim=True)


class PaddedInside(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padded = F.pad(x, (0, 0, 0, -x.shape[1] % 6))
        return super().forward(padded)[:, : x.shape[1]]


class Bypassed(Attention):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.qkv.weight, self.qkv.bias).softmax(1)


class Block(nn.Module):
    """A pre-norm block, whose class has the name of timm's."""

    attention: type[Attention] = Attention

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(D)
        self.attn = self.attention()
        self.norm2 = nn.LayerNorm(D)
        self.mlp = nn.Sequential()
        self.mlp.fc1 = nn.Linear(D, D)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x)).relu()


class PadsInside(Block):
    attention = PaddedInside


class PadsBetween(Block):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normed = F.pad(self.norm1(x), (0, 0, 0, -x.shape[1] % 6))
        x = x + self.attn(normed)[:, : x.shape[1]]
        return x + self.mlp(self.norm2(x)).relu()


class PostNorm(Block):
    """The norm's output is the residual stream too."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm1(x)
        x = self.norm2(x + self.attn(x))
        return x + self.mlp(x).relu()


class CallsNothing(Block):
    attention = Bypassed


class Toy(nn.Module):
    """A ViT of such blocks: 4 x 4 tokens at its own size, which is no multiple of 6."""

    def __init__(self, block: type[nn.Module], *, says_its_size: bool = True) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, D, 4, 4)
        if says_its_size:
            self.pretrained_cfg = {"input_size": (3, 16, 16)}
        self.blocks = nn.Sequential(block(), block())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(self.patches(x).flatten(2).mT).mean(1)


def adapted(model: nn.Module, **settings) -> PeftModel:
    torch.manual_seed(0)
    config = ArcConfig(**{"r": 4, "init_weights": False, **settings})
    return get_peft_model(model, config).double().eval()


def sites(model: nn.Module) -> set[str]:
    return {m.name.partition("blocks.")[2] for m in model.modules() if isinstance(m, ArcLayer)}


def check_folding(model: PeftModel, size: int = 16) -> None:
    x = torch.randn(2, 3, size, size, dtype=torch.double)
    with torch.no_grad():
        before = model(x)
        with model.disable_adapter():
            assert not torch.allclose(model(x), before, atol=1e-3)
        torch.testing.assert_close(model.merge_and_unload()(x), before, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("block", "att", "ffn"),
    [
        (Block, "norm1", "norm2"),
        (PadsInside, "attn.qkv", "norm2"),
        (PadsBetween, "attn.qkv", "norm2"),
        (PostNorm, "attn.qkv", "mlp.fc1"),
    ],
)
def test_a_site_is_where_folding_is_right(block: type[Block], att: str, ffn: str, tmp_path) -> None:
    model = adapted(Toy(block))
    assert sites(model) == {f"{i}.{leaf}" for i in range(2) for leaf in (att, ffn)}
    projections = [n for n, _ in model.named_parameters() if "arc_projection" in n]
    assert len(projections) == 2, "moved sites of a role still share"
    model.save_pretrained(tmp_path)
    plain = Toy(block).double().eval()
    state = {
        n.replace(".base_layer", ""): p for n, p in model.base_model.model.state_dict().items()
    }
    plain.load_state_dict({n: p for n, p in state.items() if ".arc_" not in n})
    loaded = PeftModel.from_pretrained(plain, str(tmp_path)).eval()
    x = torch.randn(2, 3, 20, 20, dtype=torch.double)
    torch.testing.assert_close(loaded(x), model(x))
    check_folding(model, size=20)
    check_folding(loaded)


@pytest.mark.parametrize("block", [PadsInside, PadsBetween, PostNorm])
@pytest.mark.parametrize("says_its_size", [False, True])
def test_a_norm_that_the_user_names_is_refused(block: type[Block], says_its_size: bool) -> None:
    model = adapted(
        Toy(block, says_its_size=says_its_size),
        consumers={"norm1": ["attn.qkv"], "norm2": ["mlp.fc1"]},
    )
    x = torch.randn(2, 3, 16, 16, dtype=torch.double)
    if not says_its_size:
        with pytest.raises(ValueError, match="can't be folded yet"):
            model.merge_adapter()
    before = model(x)
    with pytest.raises(ValueError, match=r"adapter at 'blocks\.0\.norm1' can't be folded"):
        model.merge_and_unload()
    torch.testing.assert_close(model(x), before)


def test_a_norm_that_the_user_names_rightly_folds_in_any_precision() -> None:
    settings = {"consumers": {"norm1": ["attn.qkv"], "norm2": ["mlp.fc1"]}}
    check_folding(adapted(Toy(Block), **settings))
    check_folding(adapted(Toy(Block, says_its_size=False), **settings))
    low = adapted(Toy(Block), **settings).bfloat16()
    low.merge_adapter()


def test_a_consumer_that_is_not_called_is_refused() -> None:
    model = adapted(Toy(CallsNothing))
    assert {"0.norm1", "1.norm1"} < sites(model), "the adapter itself has its effect there"
    with pytest.raises(ValueError, match=r"attn\.qkv' isn't called"):
        model.merge_adapter()


def test_a_subclass_of_known_code_is_looked_at(tiny_vit) -> None:
    class PadsTimm(TimmBlock):
        def forward(self, x, *args, **kwargs):
            more = -x.shape[1] % 6
            attended = self.attn(F.pad(self.norm1(x), (0, 0, 0, more)))[:, : x.shape[1]]
            x = x + attended
            return x + self.mlp(self.norm2(x))

    model = adapted(tiny_vit(block_fn=PadsTimm))
    assert sites(model) == {"0.attn.qkv", "0.norm2", "1.attn.qkv", "1.norm2"}
    check_folding(model, 32)


TWINS = {"img_size": 96, "embed_dims": (16, 32, 32, 32), "num_heads": (1, 2, 2, 2)}
SAM = {"img_size": 80, "embed_dim": 32, "depth": 2, "num_heads": 2, "neck_chans": 16}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "size", "places", "gaps"),
    [
        ("samvit_base_patch16", {**SAM, "window_size": 4}, 80, {"attn": 2, "norm2": 2}, []),
        (
            "twins_svt_small",
            {**TWINS, "wss": (5, 5, 5, 5)},
            96,
            {"qkv": 9, "norm2": 18},
            ["9 of 18 blocks"],
        ),
        ("convit_tiny", {"img_size": 32, "embed_dim": 8}, 32, {"norm1": 12, "norm2": 12}, []),
        ("pvt_v2_b0", {}, 96, {"norm2": 8}, ["0 of 8 blocks "]),
    ],
)
def test_families_that_pad_and_mix_fold_exactly(name, options, size, places, gaps) -> None:
    torch.manual_seed(0)
    plain = timm.create_model(name, num_classes=5, **options)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = adapted(plain)
    found = [m.name.rpartition(".")[2] for m in model.modules() if isinstance(m, ArcLayer)]
    assert {leaf: found.count(leaf) for leaf in found} == places
    assert [str(warning.message)[:14] for warning in told] == gaps
    check_folding(model, size)
