"""Every format on the bundled ViT, a Swin and a ViT of transformers: difference, size, how to load.

    python benchmarks/exports.py --out benchmarks/results/exports.json

Each backbone learns a few of the bundled shapes for an epoch. Each run is then exported, and the
lines that were printed are run in a process in which arcvit can't be imported: the difference is
that of the logits there from the adapted model's, on photos of the run. The Swin is a Swin-T and
the ViT of transformers a ViT-S/16, both at 64 pixels with random weights. Formats whose extra isn't
installed are left out.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import timm
import timm.models
import torch
import transformers

import arcvit
from arcvit.core.errors import UserError
from arcvit.export.formats import FORMATS
from arcvit.recipe.export import adapted_model

SHAPES = Path(str(resources.files("arcvit") / "assets" / "shapes"))
PLAIN = """
import json, sys
sys.modules["arcvit"] = None
import torch

asked, images = json.loads(sys.argv[1]), torch.load(sys.argv[2])
known = {"images": images.numpy()}
exec(asked["loading"], known)
with torch.inference_mode():
    if "model" in known:
        logits = known["model"](images)
    elif "classify" in known:
        logits = known["classify"].model(images)
    else:
        logits = torch.from_numpy(known["logits"])
torch.save(getattr(logits, "logits", logits), sys.argv[3])
"""


def main() -> None:
    """Train, export, load elsewhere, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, help="A folder for runs and exports, kept.")
    parser.add_argument("--out", type=Path, help="Write the rows as JSON.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        rows = _measure(options.keep or Path(scratch))
    print(f"\n{'backbone':<14}{'format':<14}{'difference':>12}{'largest logit':>15}{'bytes':>14}")
    for row in rows:
        print(
            f"{row['backbone']:<14}{row['format']:<14}{row['difference']:>12.1e}"
            f"{row['largest_logit']:>15.1f}{row['bytes']:>14,}"
        )
    if options.out is not None:
        options.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def _measure(root: Path) -> list[dict[str, Any]]:
    rows = []
    photos = _few_photos(root / "photos")
    for name, build in BACKBONES.items():
        run = root / name
        backbone = build(root / f"{name}_backbone")
        arcvit.train(str(photos), out=str(run), backbone=backbone, engine={"epochs": 1})
        # As it is exported: with its temperature in the head.
        adapted = adapted_model(arcvit.load(run, device="cpu").loaded, name=name)
        torch.save(adapted.images, root / "images.pt")
        for form in FORMATS.values():
            if form.name == "web":  # a browser loads it: web_page.py
                continue
            target = root / f"{name}_{form.name}{form.suffix}"
            try:
                exported = arcvit.export_adapters([run], target, format=form.name)
            except UserError as error:
                print(f"{name}, {form.name}: {error}")
                continue
            print(f"{name}, {form.name}:\n{exported.loading}\n")
            asked = json.dumps({"loading": exported.loading})
            files = [str(root / "images.pt"), str(root / "logits.pt")]
            subprocess.run([sys.executable, "-W", "ignore", "-c", PLAIN, asked, *files], check=True)
            logits = torch.load(root / "logits.pt")
            rows.append(
                {
                    "backbone": name,
                    "format": form.name,
                    "difference": (logits - adapted.expected).abs().max().item(),
                    "largest_logit": adapted.expected.abs().max().item(),
                    "images": exported.compared_on,
                    "bytes": exported.bytes,
                    "loading": exported.loading,
                    "notes": exported.notes,
                }
            )
    return rows


def _few_photos(folder: Path) -> Path:
    """Ten photos of each class to learn from, and two to compare on."""
    for split, count in (("train", 10), ("test", 2)):
        for source in sorted((SHAPES / split).iterdir()):
            target = folder / split / source.name
            target.mkdir(parents=True)
            for file in sorted(source.iterdir())[:count]:
                shutil.copy(file, target)
    return folder


def _swin(folder: Path) -> str:
    torch.manual_seed(0)
    arguments = {"img_size": 64, "window_size": 4}
    model = timm.create_model("swin_tiny_patch4_window7_224", **arguments)
    timm.models.save_for_hf(model, str(folder), model_args=arguments, safe_serialization=True)
    return str(folder)


def _hf_vit(folder: Path) -> str:
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=384, num_attention_heads=6, intermediate_size=1536, image_size=64
    )
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    size = {"height": 64, "width": 64}
    transformers.ViTImageProcessorPil(size=size).save_pretrained(folder)
    return str(folder)


BACKBONES: dict[str, Callable[[Path], str]] = {
    "vit": lambda folder: "demo",
    "swin": _swin,
    "hf_vit": _hf_vit,
}

if __name__ == "__main__":
    main()
