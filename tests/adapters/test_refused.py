"""What an adapter's folder may not hold, in words: a row for every way to fail."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

import arcvit
from arcvit.backbones.build import build_backbone
from arcvit.core.errors import UserError

ROOT = "base_model.model."
CONFIG = "adapter_config.json"
HANGS = "(([a-z0-9.]+)+)+#"
Spoil = Callable[[Path], None]


def weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Spoil:
    def spoil(folder: Path) -> None:
        (file,) = folder.glob("*.safetensors")
        state = load_file(file)
        change(state)
        save_file(state, file)

    return spoil


def without(part: str) -> Spoil:
    return weights(lambda state: [state.pop(key) for key in list(state) if part in key])


def with_entry(name: str, *shape: int) -> Spoil:
    return weights(lambda state: state.update({name: torch.zeros(shape)}))


def changed(part: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Spoil:
    return weights(
        lambda state: state.update({k: change(v) for k, v in state.items() if part in k})
    )


def record(file: str, **values: Any) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / f"{file}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return spoil


def prepared(**values: Any) -> Spoil:
    def spoil(folder: Path) -> None:
        path = folder / "task.json"
        task = json.loads(path.read_text())
        task["preprocessing"] |= values
        path.write_text(json.dumps(task))

    return spoil


def config(**values: Any) -> Spoil:
    return record("adapter_config", **values)


def text(file: str, content: str) -> Spoil:
    return lambda folder: (folder / file).write_text(content) and None


def pickled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()
    with (folder / "adapter_model.bin").open("wb") as file:
        pickle.dump({}, file)


def pipe(folder: Path) -> None:
    (folder / "adapter_config.json").unlink()
    os.mkfifo(folder / "adapter_config.json")


ROWS: list[tuple[str, Spoil, str]] = [
    ("lora", without("lora_A"), r"missing: .*lora_A"),
    ("lora", without("lora_B"), r"missing: .*lora_B"),
    ("vera", without("vera_lambda_d"), r"missing: .*vera_lambda_d"),
    ("bitfit", without("blocks.0"), r"missing: .*blocks.0.*bias"),
    ("vpt", without("blocks.1"), r"missing: .*blocks.1.*vpt_prompts"),
    ("adaptformer", without("up.bias"), r"missing: .*adaptformer_up"),
    ("ssf", without("scale"), r"missing: .*ssf_scale"),
    ("lnorm", without("norm1"), r"missing: .*norm1"),
    ("full", without("blocks.0.norm1"), r"missing: blocks.0.norm1"),
    *(
        (method, with_entry(f"{ROOT}patch_embed.proj.weight", 32, 3, 8, 8), "not of this adapter")
        for method in ("arc", "lora", "bitfit", "linear")
    ),
    ("linear", with_entry(f"{ROOT}norm.bias", 32), "not of this adapter: .*norm.bias"),
    ("arc", without("head.weight"), r"doesn't fit .*there is no '.*head.weight'"),
    ("linear", without("head"), "holds no head 'head'"),
    ("linear", record("task", head="x" * 5000), "holds no head 'xxx"),
    ("lora", config(modules_to_save=None), "expected the head 'head' in it"),
    ("arc", changed("head", lambda v: v[:3]), "has 3 outputs, but there are 4 labels"),
    ("full", record("task", labels=["a"]), "has 4 outputs, but there are 1 labels"),
    ("lora", changed("head.bias", lambda v: v / 0), "NaN or infinite, as in .*head.bias"),
    ("full", changed("norm", lambda v: v.int()), "torch.int32, expected torch.float32"),
    ("arc", changed("arc_coef", lambda v: v.bool()), "torch.bool, expected floating point"),
    ("ssf", changed("shift", lambda v: v.double() + 1e300), "NaN or infinite"),
    ("arc", pickled, "adapter_model.safetensors isn't there"),
    ("arc", pipe, r"adapter_config.json isn't there"),
    ("lora", config(r=[8]), r"r is \[8\]: expected a whole number"),
    ("lora", config(r=10**9), "r is 1,000,000,000, but no weight is longer than 128"),
    ("vpt", config(prompts=10**9), "prompts is 1000000000: expected a whole number at least 1 and"),
    ("lora", config(lora_alpha="x"), "lora_alpha is 'x': expected a number"),
    ("lora", config(bias="x"), "doesn't fit"),
    ("lora", config(megatron_config={}), "megatron_config names code to load"),
    ("lora", text(CONFIG, '{"peft_type": "PROMPT_TUNING", "task_type": "CAUSAL_LM"}'), "language"),
    ("lora", config(peft_type=3), "peft_type is 3: expected one of ADALORA"),
    ("lora", config(target_modules=HANGS), "target_modules is .*can take hours"),
    ("lora", config(rank_pattern={HANGS: 1}), "rank_pattern is .*can take hours"),
    ("arc", config(exclude_modules=HANGS), "exclude_modules is .*can take hours"),
    ("arc", config(layers_pattern=[HANGS], layers_to_transform=0), "can take hours"),
    ("adaptformer", text(CONFIG, '{"peft_type": "ARC", "r": NaN}'), "is no JSON"),
    ("arc", text("task.json", '{"a":' * 100_000), "is damaged: expected JSON .*recursion"),
    ("arc", record("task", labels=["x"] * 1_000_000), "has 1,000,000 labels: expected at most"),
    ("arc", record("task", labels=list("abc\ud800")), "is damaged: expected JSON .*surrogates"),
    ("arc", record("task", results={"test_accuracy": "x"}), "test_accuracy is 'x'"),
    ("arc", record("task", preprocessing={"size": 3}), "task.json is damaged: Preprocessing"),
    ("arc", prepared(size=[40, 40]), "task.json has images of 40 x 40 pixels, but"),
    ("arc", record("task", backbone={"name": "x" * 5000}), "backbone 'xxx"),
    ("arc", record("task", backbone={"name": "x", "image_size": 10**9}), "image_size is 10000000"),
]


@pytest.mark.parametrize(("method", "spoil", "sentence"), ROWS)
def test_refused(every: Any, tmp_path: Path, method: str, spoil: Spoil, sentence: str) -> None:
    folder = shutil.copytree(every.root / method, tmp_path / "spoilt")
    spoil(folder)
    with pytest.raises(UserError, match=sentence) as caught:
        arcvit.load_adapter(folder, device="cpu")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1500


@pytest.mark.parametrize(
    ("method", "spoil", "sentence"),
    [
        ("arc", with_entry(f"{ROOT}norm.weight", 32), "not of this adapter"),
        ("ssf", with_entry(f"{ROOT}norm.weight", 32), "not of this adapter"),
        ("arc no bias", without("arc_coef"), "missing: .*arc_coefficients"),
        ("vpt", without("blocks.1"), "missing: .*vpt_prompts"),
        ("adaptformer", changed("up.bias", lambda v: v / 0), "NaN or infinite"),
        ("arc", changed("arc_coef", lambda v: v.int()), "of another kind: .*torch.int32"),
        ("arc", config(target_modules=HANGS), "target_modules is .*can take hours"),
        ("vpt", config(dropout=[]), r"dropout is \[\]: expected a number"),
        ("vpt", config(prompts=0), "prompts is 0: expected a whole number at least 1"),
    ],
)
def test_refused_in_plain_peft(
    every: Any, tiny: Path, tmp_path: Path, method: str, spoil: Spoil, sentence: str
) -> None:
    folder = shutil.copytree(every.root / method, tmp_path / "spoilt")
    spoil(folder)
    model = build_backbone(str(tiny), num_classes=4).model
    with pytest.raises(UserError, match=sentence):
        PeftModel.from_pretrained(model, str(folder))
