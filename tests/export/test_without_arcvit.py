"""Every format on a ViT, a Swin and a ViT of transformers, loaded where there is no arcvit."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import timm.models
import torch
import transformers
from peft import get_peft_model
from PIL import Image

from arcvit import ArcConfig
from arcvit.backbones.build import build_backbone
from arcvit.backbones.labels import name_labels
from arcvit.data.pixels.augment import ToInput
from arcvit.export.adapted import AdaptedModel, logits_on
from arcvit.export.formats import FORMATS
from arcvit.recipe.export import write_format
from arcvit.recipe.given import read

pytestmark = pytest.mark.slow

FORMATS_OF = {
    "vit": ("timm", "torch", "lora"),
    "swin": ("timm", "torch", "lora"),
    "hf_vit": ("transformers", "torch", "lora"),
}
PLAIN = """
import json, sys, warnings
sys.modules["arcvit"] = None
warnings.simplefilter("ignore")
import torch
from transformers import pipeline

asked = json.load(open("asked.json"))
answers = {}
with torch.inference_mode():
    for name, how in asked.items():
        known = {}
        exec(how["loading"], known)
        if "model" in known:
            output = known["model"](torch.load(how["images"]))
            answers[name] = getattr(output, "logits", output).tolist()
        if how["format"] == "timm":
            known["classify"] = pipeline("image-classification", model=how["path"])
        if "classify" in known:
            given = known["classify"]("photo.jpg", top_k=3)
            scores = {answer["label"]: answer["score"] for answer in given}
            answers[f"{name} scores"] = [scores[label] for label in "abc"]
json.dump(answers, open("answers.json", "w"))
"""


def swin(folder: Path) -> Path:
    torch.manual_seed(0)
    arguments = {
        "img_size": 32,
        "window_size": 4,
        "embed_dim": 16,
        "depths": (1, 1),
        "num_heads": (2, 2),
    }
    model = timm.create_model("swin_tiny_patch4_window7_224", **arguments)
    timm.models.save_for_hf(model, str(folder), model_args=arguments, safe_serialization=True)
    return folder


def hf_vit(folder: Path) -> Path:
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
    )
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    transformers.ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def answers(
    tiny: Path, adapted: Callable[..., AdaptedModel], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What was expected and what came out, by backbone and format, in another process."""
    root = tmp_path_factory.mktemp("exported")
    noise = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(noise).save(root / "photo.jpg")
    folders = {"vit": tiny, "swin": swin(root / "swin"), "hf_vit": hf_vit(root / "hf_vit")}
    asked, expected = {}, {}
    for name, folder in folders.items():
        backbone = build_backbone(str(folder), num_classes=3)
        torch.manual_seed(0)
        torch.nn.init.normal_(backbone.model.get_submodule(backbone.head).weight)
        config = ArcConfig(r=4, init_weights=False, modules_to_save=[backbone.head])
        model = get_peft_model(backbone.model, config).eval()
        name_labels(backbone.model, list("abc"), "single")
        run = adapted(model, head=backbone.head, backbone=str(folder))
        torch.save(run.images, root / f"{name}.pt")
        pixels, _, _ = read([root / "photo.jpg"], run.preprocessing)
        on_photo = logits_on(model, ToInput.of(run.preprocessing).eval()(pixels))
        for form in FORMATS_OF[name]:
            out = root / f'PATH "{name}" \U0001f600 {form}{FORMATS[form].suffix}'
            exported = write_format(FORMATS[form], [run], out)
            key = f"{name} {form}"
            asked[key] = {
                "format": form,
                "path": str(out),
                "loading": exported.loading,
                "images": str(root / f"{name}.pt"),
            }
            expected[key] = run.expected.tolist()
            expected[f"{key} scores"] = on_photo.softmax(-1)[0].tolist()
    (root / "asked.json").write_text(json.dumps(asked))
    subprocess.run([sys.executable, "-c", PLAIN], cwd=root, check=True)
    given = json.loads((root / "answers.json").read_text())
    return {"expected": expected, "given": given, "asked": asked}


@pytest.mark.parametrize(
    ("backbone", "form"), [(name, form) for name, forms in FORMATS_OF.items() for form in forms]
)
def test_the_lines_load_it_and_it_gives_the_same(
    answers: dict[str, Any], backbone: str, form: str
) -> None:
    name = f"{backbone} {form}"
    expected, given = answers["expected"], answers["given"]
    if form != "transformers":
        np.testing.assert_allclose(given[name], expected[name], rtol=1e-4, atol=2e-5)
    if form in ("timm", "transformers"):
        scores = f"{name} scores"
        np.testing.assert_allclose(given[scores], expected[scores], atol=1e-5)


@pytest.mark.parametrize("backbone", FORMATS_OF)
def test_neither_photos_nor_paths_of_this_machine_go_along(
    answers: dict[str, Any], backbone: str
) -> None:
    asked = answers["asked"][f"{backbone} torch"]
    written, images = Path(asked["path"]).read_bytes(), torch.load(asked["images"])
    assert images.numpy().tobytes()[:999] not in written
    assert str(Path(timm.__file__).parents[1]).encode() not in written
