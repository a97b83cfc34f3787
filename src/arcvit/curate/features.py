"""Features of images, in one pass: of a backbone as it is, or of a run or an adapter.

N images, K labels, d width of the features.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor, nn

from arcvit.backbones.build import build_backbone
from arcvit.data.config import DataConfig
from arcvit.data.pixels.augment import ToInput
from arcvit.data.pixels.grey import grey_peaks, grey_range
from arcvit.data.pixels.preset import Preprocessing, resolve_preset
from arcvit.data.task import Split
from arcvit.engine.class_token import class_token_alone
from arcvit.engine.config import EngineConfig
from arcvit.engine.device import make_accelerator
from arcvit.engine.features import head_features
from arcvit.recipe.adapter import LoadedAdapter
from arcvit.recipe.images import decode_split


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Images that could be read, and what a model sees on them.

    Attributes:
        rows: their places among those looked at, (N,).
        features: what the head reads, ``float32`` (N, d).
        skipped: files that can't be read, each with the reason.
    """

    rows: np.ndarray
    features: np.ndarray
    skipped: tuple[tuple[Path, str], ...]


@dataclass(frozen=True, kw_only=True)
class Eye:
    """A frozen model with what it needs to look at images.

    Attributes:
        name: of its backbone, by which the precision is chosen.
        model: a backbone, adapted or not.
        head: its head, which reads the features.
        prep: how images are prepared.
    """

    name: str
    model: nn.Module
    head: nn.Module
    prep: Preprocessing

    def look(self, paths: Sequence[Path], data: DataConfig) -> Seen:
        """One pass over images. Those that can't be read are left out.

        Args:
            paths: the images.
            data: how much memory they may take once decoded, and where the rest is kept.

        Raises:
            UnreadableImages: none of them can be read.
        """
        unlabelled = Split.of((path, 0) for path in paths)
        bank = decode_split(unlabelled, self.prep, replace(data, on_bad="skip"))
        accelerator = make_accelerator(EngineConfig(), 0, backbone=self.name)
        model, prepare = self.model.to(accelerator.device), ToInput.of(self.prep).eval()
        with class_token_alone(model):
            found = head_features(
                model, self.head, bank, prepare.to(accelerator.device), accelerator
            )
        place = {path: row for row, path in enumerate(paths)}
        return Seen(
            rows=np.array([place[path] for path in bank.paths]),
            features=found.features.flatten(1).numpy(),
            skipped=bank.skipped,
        )

    def logits(self, features: np.ndarray) -> Tensor:
        """What the head says of features (N, d): (N, K), on the CPU."""
        device = next(self.head.parameters()).device
        with torch.inference_mode():
            logits: Tensor = self.head(torch.from_numpy(features).to(device))
        return logits.float().cpu()


def eye_of_backbone(name: str, paths: Sequence[Path], data: DataConfig) -> Eye:
    """A backbone as it was pretrained.

    Args:
        name: what ``--backbone`` takes.
        paths: the images to look at, whose range of grey values is asked.
        data: their preset and how they are decoded.

    Raises:
        UserError: there is no such backbone or preset.
    """
    backbone = build_backbone(name, num_classes=1)
    prep = resolve_preset(
        data.preset, input_size=backbone.input_size, data_config=backbone.data_config
    )
    how = data.decoding()
    how = replace(how, grey_max=grey_range(grey_peaks(paths, how)))
    prep = replace(prep, **vars(how))
    head = backbone.model.get_submodule(backbone.head)
    return Eye(name=name, model=backbone.model, head=head, prep=prep)


def eye_of(loaded: LoadedAdapter) -> Eye:
    """The model of a run or an adapter, with the images as it was trained on them."""
    model = loaded.model
    root = model.get_base_model() if isinstance(model, PeftModel) else model
    return Eye(
        name=loaded.task.backbone.name,
        model=model,
        head=root.get_submodule(loaded.task.head),
        prep=loaded.preprocessing,
    )
