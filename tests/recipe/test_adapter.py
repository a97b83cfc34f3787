"""An adapter folder brings labels, preprocessing and backbone along, in Python as in a run."""

import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from peft import LoraConfig, OFTConfig, PeftModel, get_peft_model
from torch import nn

import arcvit
from arcvit.core.errors import UserError
from arcvit.core.task import read_task

LABELS = ["blue", "green", "red", "white"]
Trained = Callable[[str], Path]


def adapted(tiny: Path, config: object | None = None, adapter: str = "default") -> PeftModel:
    """A tiny backbone with an adapter and a head that differ from their start."""
    torch.manual_seed(7)
    model = timm.create_model(f"local-dir:{tiny}", pretrained=True, num_classes=4)
    config = config or arcvit.ArcConfig(r=4, modules_to_save=["head"])
    model = get_peft_model(model, config, adapter_name=adapter)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                nn.init.normal_(parameter, std=0.2)
    return model.eval()


@pytest.mark.parametrize("adapter", ["default", "pets"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: arcvit.ArcConfig(r=4, modules_to_save=["head"]),
        lambda: LoraConfig(target_modules=["qkv"], modules_to_save=["head"]),
        # Its layers hold buffers by the adapter's name that it doesn't save.
        lambda: OFTConfig(oft_block_size=8, target_modules=["qkv"], modules_to_save=["head"]),
    ],
)
def test_what_is_saved_in_python_comes_back(
    tiny: Path, tmp_path: Path, make: Callable[[], object], adapter: str
) -> None:
    model = adapted(tiny, make(), adapter)
    folder = tmp_path / "adapter"
    for _ in range(2):  # it replaces what is there
        arcvit.save_adapter(model, folder, labels=LABELS, backbone=str(tiny), preprocessing="vtab")
    loaded = arcvit.load_adapter(folder, device="cpu")
    assert isinstance(loaded.model, PeftModel)
    assert loaded.labels == LABELS
    assert loaded.preprocessing.size == (32, 32)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(loaded.model(pixels), model(pixels))


def test_an_image_of_several_labels_has_a_probability_for_each(
    tiny: Path, photos: Path, tmp_path: Path
) -> None:
    arcvit.save_adapter(adapted(tiny), tmp_path / "a", labels=LABELS, backbone=str(tiny))
    single = arcvit.load_adapter(tmp_path / "a", device="cpu")
    several = dataclasses.replace(single, task=dataclasses.replace(single.task, kind="multilabel"))
    (photo, *_) = sorted((photos / "test" / "red").iterdir())
    (one,), (each,) = (arcvit.Classifier(loaded).predict(photo) for loaded in (single, several))
    odds = [ranked.probability / (1 - ranked.probability) for ranked in each.top]
    assert [odd / sum(odds) for odd in odds] == pytest.approx([r.probability for r in one.top])
    assert [ranked.label for ranked in each.top] == [ranked.label for ranked in one.top]


def test_the_backbone_is_the_one_it_was_trained_on(
    tiny: Path, other_tiny: Path, tmp_path: Path
) -> None:
    for name, config in (
        ("arc", arcvit.ArcConfig(r=4, modules_to_save=["head"])),
        ("lora", LoraConfig(target_modules=["qkv", "fc1"], modules_to_save=["head"])),
    ):
        arcvit.save_adapter(
            adapted(tiny, config), tmp_path / name, labels=LABELS, backbone=str(tiny)
        )
        other = timm.create_model(f"local-dir:{other_tiny}", pretrained=True, num_classes=4)
        with pytest.raises(UserError, match="'VisionTransformer' has other weights"):
            arcvit.load_adapter(tmp_path / name, backbone=other)
        own = timm.create_model(f"local-dir:{tiny}", pretrained=True, num_classes=4)
        assert arcvit.load_adapter(tmp_path / name, backbone=own).labels == LABELS


def test_biases_that_were_trained_leave_no_fingerprint(tiny: Path, tmp_path: Path) -> None:
    config = LoraConfig(target_modules=["qkv"], bias="all", modules_to_save=["head"])
    arcvit.save_adapter(adapted(tiny, config), tmp_path / "a", labels=LABELS, backbone=str(tiny))
    assert read_task(tmp_path / "a").backbone.fingerprint is None
    assert arcvit.load_adapter(tmp_path / "a").labels == LABELS


def test_a_model_that_was_trained_whole(tiny: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = timm.create_model(f"local-dir:{tiny}", num_classes=4).eval()
    arcvit.save_adapter(model, tmp_path / "whole", labels=LABELS, backbone=str(tiny))
    loaded = arcvit.load_adapter(tmp_path / "whole", device="cpu")
    pixels = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(loaded.model(pixels), model(pixels))


@pytest.mark.parametrize(
    ("config", "settings", "sentence"),
    [
        ({}, {"labels": ["a"]}, "1 labels for the head 'head', which has 4 outputs"),
        ({}, {"preprocessing": "none"}, "There is no preset 'none'"),
        ({}, {"head": "fc"}, r"head='fc': expected one of the adapter's modules_to_save, \['head'"),
        ({"modules_to_save": None}, {}, "or the head isn't saved"),
    ],
)
def test_what_cant_be_saved(
    tiny: Path, tmp_path: Path, config: dict, settings: dict, sentence: str
) -> None:
    model = adapted(tiny, arcvit.ArcConfig(**{"r": 4, "modules_to_save": ["head"], **config}))
    with pytest.raises(UserError, match=sentence):
        arcvit.save_adapter(
            model, tmp_path / "a", **{"labels": LABELS, "backbone": str(tiny), **settings}
        )
    assert not (tmp_path / "a").exists()


def test_neither_a_folder_nor_a_repository() -> None:
    with pytest.raises(UserError, match="no adapter 'me/nothing': it is no folder here, and"):
        arcvit.load_adapter("me/nothing")


def snippet_of(folder: Path) -> str:
    card = (folder / "README.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    return snippet


@pytest.mark.slow
def test_the_cards_snippet_runs_as_printed(trained: Trained) -> None:
    folder = trained("arc") / "adapter"
    done = subprocess.run(
        [sys.executable, "-c", snippet_of(folder)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"{LABELS}\n"), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("method", ["arc", "lora", "full"])
def test_so_it_does_for_each_kind_of_method(
    trained: Trained, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained(method) / "adapter")
    names: dict[str, Any] = {}
    exec(snippet_of(Path()), names)
    assert names["classifier"].labels == LABELS
