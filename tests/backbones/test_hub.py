import time
from pathlib import Path

import huggingface_hub.constants as hub
import pytest

from arcvit.backbones.build import build_backbone
from arcvit.backbones.hub import build_from_hub
from arcvit.core.errors import UserError


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))


def test_an_unreachable_hub_is_one_sentence_and_quick() -> None:
    start = time.monotonic()
    with pytest.raises(UserError) as caught:
        build_backbone("vit_tiny_patch16_224.augreg_in21k", num_classes=5)
    assert time.monotonic() - start < 5
    said = str(caught.value)
    assert "\n" not in said
    for part in (
        "no weights for 'vit_tiny_patch16_224.augreg_in21k'",
        "tried the local cache and huggingface.co",
        "--weights FILE",
        "--backbone demo",
    ):
        assert part in said


def test_what_was_set_comes_back() -> None:
    before = hub.HF_HUB_OFFLINE
    with pytest.raises(UserError):
        build_from_hub("vit_tiny_patch16_224")
    assert before == hub.HF_HUB_OFFLINE


@pytest.mark.slow
def test_a_model_without_weights_anywhere() -> None:
    with pytest.raises(UserError, match=r"timm has no pretrained weights for .*--weights random"):
        build_backbone("vit_small_patch16_36x1_224", num_classes=5)
