"""The network: made, started from a file, grown, averaged, evaluated and exported."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from pretrain.photos import MEAN, STD, normalize, read_classes

BLOCK = re.compile(r"blocks\.(\d+)\.(.+)")


def classes_path(weights: Path) -> Path:
    """The file beside `weights` that lists its classes in label order."""
    return weights.with_suffix(".classes.txt")


def depth_of(weights: Iterable[str]) -> int:
    """Number of blocks among the names of a timm ViT's state dict."""
    return 1 + max(int(match[1]) for name in weights if (match := BLOCK.fullmatch(name)))


def grow(weights: Mapping[str, Tensor], depth: int) -> dict[str, Tensor]:
    """A deeper ViT that computes the same function, by block expansion (Wu et al., ACL 2024).

    New blocks copy the block before them, with the output projections of attention and MLP at
    zero; they are spread evenly, the last one at the end.

    Args:
        weights: state dict of a timm ViT.
        depth: number of blocks wanted, no fewer than `weights` has.

    Raises:
        ValueError: `weights` is deeper than `depth`.
    """
    found = depth_of(weights)
    if found > depth:
        raise ValueError(f"the file has {found} blocks, the recipe only {depth}")
    sources = [(place + 1) * found / depth for place in range(depth)]
    grown = {name: tensor for name, tensor in weights.items() if not BLOCK.fullmatch(name)}
    taken: set[int] = set()
    for place, position in enumerate(sources):
        source = max(int(position - 1e-9), 0)
        for name, tensor in weights.items():
            match = BLOCK.fullmatch(name)
            if match and int(match[1]) == source:
                repeated = source in taken and match[2].startswith(("attn.proj.", "mlp.fc2."))
                value = torch.zeros_like(tensor) if repeated else tensor.clone()
                grown[f"blocks.{place}.{match[2]}"] = value
        taken.add(source)
    return grown


def blend(
    start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """(1 - share) * start + share * end, for every tensor.

    Between a network and its fine-tuned self the blend is often better than both (Wortsman et al.,
    CVPR 2022, "Robust fine-tuning of zero-shot models").
    """
    return {name: torch.lerp(start[name], tensor, share) for name, tensor in end.items()}


def load_start(model: VisionTransformer, file: Path, classes: Sequence[str]) -> None:
    """Start `model` from exported weights, grown to its depth, with the head in `classes` order.

    Raises:
        ValueError: the classes listed beside `file` are not those of `classes`.
    """
    listed = read_classes(classes_path(file))
    if sorted(listed) != sorted(classes):
        raise ValueError(f"{classes_path(file)} lists other classes than the photos have")
    weights = {name: tensor.float() for name, tensor in load_file(file).items()}
    rows = torch.tensor([listed.index(name) for name in classes])
    for name in ("head.weight", "head.bias"):
        weights[name] = weights[name][rows]
    model.load_state_dict(grow(weights, len(model.blocks)))


@torch.no_grad()
def average(target: nn.Module, source: nn.Module, decay: float) -> None:
    """target <- decay * target + (1 - decay) * source, for every parameter."""
    torch._foreach_lerp_(list(target.parameters()), list(source.parameters()), 1 - decay)


@torch.no_grad()
def top1(model: nn.Module, photos: Tensor, labels: Tensor, device: torch.device) -> float:
    """Share, in percent, of photos (N, 3, H, W) whose best class is their label (N,)."""
    model.eval()
    correct = 0
    for batch, target in zip(photos.split(250), labels.split(250), strict=True):
        with torch.autocast(device.type, torch.bfloat16):
            scores = model(normalize(batch.to(device).float() / 255))
        correct += int((scores.argmax(1).cpu() == target).sum())
    return 100 * correct / len(photos)


def export(model: nn.Module, file: Path, architecture: Mapping[str, int], top1: float) -> None:
    """Write fp16 weights under timm's names; the header's JSON says how to rebuild and feed it."""
    weights = {name: tensor.half().cpu() for name, tensor in model.state_dict().items()}
    header = {
        "architecture": "timm.models.vision_transformer.VisionTransformer",
        "architecture_args": architecture,
        "mean": MEAN,
        "std": STD,
        "top1": top1,
    }
    save_file(weights, file, {name: json.dumps(value) for name, value in header.items()})


def package(file: Path, folder: Path) -> None:
    """Write exported weights as a folder that ``timm.create_model("local-dir:FOLDER")`` reads.

    Args:
        file: exported weights, with the list of their classes beside them.
        folder: gets ``model.safetensors`` and ``config.json``; other files in it stay.
    """
    weights = load_file(file)
    depth, embed_dim = depth_of(weights), weights["cls_token"].shape[-1]
    classes = read_classes(classes_path(file))
    config = {
        "architecture": "vit_tiny_patch16_224",
        "num_classes": len(classes),
        "num_features": embed_dim,
        "model_args": {
            "img_size": 64,
            "patch_size": 8,
            "embed_dim": embed_dim,
            "depth": depth,
            "num_heads": embed_dim // 64,
            "num_classes": len(classes),
        },
        "pretrained_cfg": {
            "tag": "arcvit_demo",
            "custom_load": False,
            "input_size": [3, 64, 64],
            "fixed_input_size": True,
            "interpolation": "bicubic",
            "crop_pct": 0.875,
            "crop_mode": "center",
            "mean": MEAN,
            "std": STD,
            "num_classes": len(classes),
            "label_names": classes,
            "pool_size": None,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def load_exported(file: Path) -> VisionTransformer:
    """The network of an exported file, its size read off the tensors (heads are 64 wide)."""
    weights = {name: tensor.float() for name, tensor in load_file(file).items()}
    embed_dim = weights["cls_token"].shape[-1]
    model = VisionTransformer(
        img_size=64,
        patch_size=8,
        embed_dim=embed_dim,
        depth=depth_of(weights),
        num_heads=embed_dim // 64,
        num_classes=len(weights["head.bias"]),
    )
    model.load_state_dict(weights)
    return model
