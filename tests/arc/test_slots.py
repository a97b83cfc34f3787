"""Adapters in slots: the numbers of PEFT's own mixed batch, whatever stood there before."""

from typing import Any

import pytest
import timm
import torch
from peft import PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict
from torch import Tensor, nn

from arcvit import ArcConfig
from arcvit.arc.call import BASE, carried
from arcvit.arc.slots import NONE, Packed, Slots, pack
from arcvit.arc.unattached import unattached, wrap_sites
from arcvit.core.errors import UserError

SHAPES: list[dict[str, Any]] = [
    {"r": 4},
    {"r": 9, "variant": "arc_plus", "adapter_bias": False},
    {"r": 3, "variant": "arc_att", "rank_pattern": {"blocks.0.norm1": 7}},
    {"r": 2, "share": "none", "up_projection": "separate"},
    {"r": 5, "core": "full"},
]


def vit() -> nn.Module:
    torch.manual_seed(0)
    tiny = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
    return timm.create_model("vit_tiny_patch16_224", num_classes=0, **tiny).eval()


@pytest.fixture(scope="module")
def mixed() -> PeftModel:
    """All adapters as PEFT has them."""
    model = get_peft_model(vit(), ArcConfig(**SHAPES[0]), adapter_name="task-0")
    for index, shape in enumerate(SHAPES[1:], start=1):
        model.add_adapter(f"task-{index}", ArcConfig(**shape))
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".arc_" in name:
                nn.init.normal_(parameter, std=0.3)
    return model.eval()


def packed(mixed: PeftModel, index: int, plain: nn.Module) -> Packed:
    saved = get_peft_model_state_dict(mixed, adapter_name=f"task-{index}")
    state = {key.removeprefix("base_model.model."): value for key, value in saved.items()}
    adapter = unattached(ArcConfig(**SHAPES[index]), state, plain)
    wrap_sites(plain, {name: site.planned for name, site in adapter.items()})
    return pack(adapter)


@torch.inference_mode()
def test_slots_give_what_peft_gives(mixed: PeftModel) -> None:
    plain, slots = vit(), Slots(3)
    images = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(2))

    def check(held: dict[int, int], order: list[int]) -> None:
        """Adapters by their slots, and the slot of each row."""
        with carried(slots.rows(order)):
            found: Tensor = plain(images)
        names = [BASE if slot == NONE else f"task-{held[slot]}" for slot in order]
        torch.testing.assert_close(found, mixed(images, adapter_names=names))

    held: dict[int, int] = {}
    # Each stands where another shape stood before, with other sites, ranks and biases.
    for slot, index in [(0, 0), (1, 1), (2, 2), (0, 3), (1, 4), (2, 0), (0, 2), (1, 3), (2, 1)]:
        slots.put(slot, packed(mixed, index, plain))
        held[slot] = index
        there = sorted(held)
        check(held, [there[row % len(there)] for row in range(6)])
        check(held, [NONE, slot, NONE, there[0], slot, NONE])
        check(held, [slot] * 6)
    slots.clear(1)
    check(held, [NONE, 0, 2, NONE, 0, 2])
    with carried(slots.rows([NONE] * 6)):
        assert torch.equal(plain(images), vit()(images))


def test_what_isnt_all_of_an_adapter_is_refused(mixed: PeftModel) -> None:
    saved = get_peft_model_state_dict(mixed, adapter_name="task-0")
    state = {key.removeprefix("base_model.model."): value for key, value in saved.items()}
    some = dict(list(state.items())[1:])
    for config, given, sentence in (
        (ArcConfig(r=4), some, "missing"),
        (ArcConfig(r=4), {**state, "blocks.0.attn.qkv.weight": torch.zeros(1)}, "not of this"),
        (ArcConfig(r=5), state, "misshapen"),
        (ArcConfig(r=4, projection="other"), state, "projections of another adapter"),
    ):
        with pytest.raises(UserError, match=sentence):
            unattached(config, given, vit())
