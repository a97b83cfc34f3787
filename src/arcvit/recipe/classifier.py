"""A trained classifier, ready to answer: the one way from images to labels.

N images, K labels, d width of the features.
"""

import copy
import threading
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from torch import Tensor, nn

from arcvit.backbones.logits import logits_of
from arcvit.core.errors import UserError
from arcvit.core.settings import shown
from arcvit.core.task import Calibration
from arcvit.data.findings import examples
from arcvit.data.pixels.augment import ToInput
from arcvit.data.pixels.preset import Preprocessing
from arcvit.engine.calibration import likeness
from arcvit.export.folded import merged_model
from arcvit.export.formats import check_export
from arcvit.recipe.adapter import LoadedAdapter
from arcvit.recipe.export import Exported, adapted_model, name_of, write_format
from arcvit.recipe.given import Given, Single, file_of, one_by_one, read
from arcvit.recipe.keys import check_keys
from arcvit.recipe.load import LoadedRun, load_trained
from arcvit.recipe.measure import Measurement, measure
from arcvit.recipe.prediction import Prediction, Ranked
from arcvit.recipe.run import Run

BATCH = 64
"""Images in a forward pass, unless told otherwise."""
_BATCH_BYTES = 2**28
"""As much may a batch of decoded images take: an adapter can say that its images are huge."""


def load(
    source: str | Path | Run,
    *,
    device: str = "auto",
    backbone: str | None = None,
    force: bool = False,
) -> "Classifier":
    """Load a trained classifier.

    Args:
        source: a run or its folder, an adapter folder, or an adapter on the hub as ``USER/NAME``.
        device: cpu, cuda or mps; auto takes the best there is.
        backbone: where the backbone lies now, if it has moved.
        force: load onto weights other than those it was trained on.

    Raises:
        UserError: there is nothing of the kind, its files are damaged, or the backbone can't be had
            or isn't the one it was trained on.
    """
    place = source.folder if isinstance(source, Run) else source
    return Classifier(load_trained(place, backbone=backbone, device=device, force=force))


class Classifier:
    """A model that tells the labels of images. All methods may be called from any thread.

    Images are decoded by as many threads as there are cores; the model answers one batch at a time.

    Args:
        loaded: an adapter on its backbone, or a finished run.
    """

    def __init__(self, loaded: LoadedAdapter) -> None:
        self.loaded = loaded
        self.model: nn.Module = loaded.model
        """The model; a plain one after ``merge``."""
        self._to_input = ToInput.of(loaded.preprocessing).eval()
        self._turn = threading.RLock()

    @property
    def labels(self) -> list[str]:
        """Class names in the order of the logits."""
        return self.loaded.labels

    @property
    def preprocessing(self) -> Preprocessing:
        """How images are prepared."""
        return self.loaded.preprocessing

    @property
    def calibration(self) -> Calibration | None:
        """How far to believe it; None where it was trained without validation images."""
        return self.loaded.task.calibration

    @property
    def is_multilabel(self) -> bool:
        """Whether an image has any number of labels."""
        return self.loaded.task.kind == "multilabel"

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def predict(
        self,
        images: Given | Iterable[Given],
        top: int = 5,
        *,
        threshold: float | None = None,
        batch_size: int = BATCH,
    ) -> list[Prediction]:
        """What is to be seen on images, in their order; see ``stream``."""
        return list(self.stream(images, top, threshold=threshold, batch_size=batch_size))

    def stream(
        self,
        images: Given | Iterable[Given],
        top: int = 5,
        *,
        threshold: float | None = None,
        batch_size: int = BATCH,
    ) -> Iterator[Prediction]:
        """What is to be seen on images, batch by batch, in their order.

        An image that can't be read doesn't keep the others back: its prediction says why.

        Args:
            images: paths, folders, patterns such as ``photos/**/*.jpg``, PIL images, or arrays
                ``uint8`` (H, W, 3) or grey (H, W); one, or any iterable, which is read as needed.
            top: labels of each image.
            threshold: an image is known from this probability on, in [0, 1]; None: where it is like
                those learned, which only a calibrated model tells. With several labels an image it
                is given the labels from this probability on; None: from the thresholds that were
                chosen for them.
            batch_size: images in a forward pass: answers come when so many were read.

        Raises:
            UserError: something that is no image was given; ``top`` or ``batch_size`` is below 1;
                ``threshold`` is no probability.
        """
        for name, value in (("top", top), ("batch_size", batch_size)):
            if value < 1:
                raise UserError(f"{name} is {shown(value)}: expected at least 1.")
        if threshold is not None and not 0 <= threshold <= 1:
            raise UserError(f"threshold is {shown(threshold)}: expected a probability, 0 to 1.")
        # Not a generator itself: what is wrong shows at the call, not at the first image.
        batches = self._batches(images, batch_size)
        return self._answers(batches, min(top, len(self.labels)), threshold)

    def embed(self, images: Given | Iterable[Given], *, batch_size: int = BATCH) -> np.ndarray:
        """The features that the head reads, ``float32`` (N, d): alike where images are alike.

        Raises:
            UserError: images can't be read; they are listed.
        """
        rows: list[Tensor] = []
        for batch in self._batches(images, batch_size):
            pixels, errors, _ = read(batch, self.preprocessing)
            if errors:
                named = examples([f"{file_of(batch[row])} ({why})" for row, why in errors.items()])
                raise UserError(f"{len(errors)} image(s) can't be read: {named}.")
            rows.append(self._forward(pixels)[1])
        return torch.cat(rows).numpy() if rows else np.zeros((0, 0), np.float32)

    def evaluate(
        self,
        path: str | Path | None = None,
        *,
        split: str | None = None,
        ignore_unknown: bool = False,
        **data: Any,
    ) -> Measurement:
        """Measure on labelled images; classes go by name.

        Args:
            path: a class folder, a table or another layout; None: the data of the run.
            split: train, val, test or all; None: test of the run's own data, else all.
            ignore_unknown: leave out images of classes that the model doesn't know.
            data: further settings of the data, as ``table_column="kind"``.

        Raises:
            UserError: the images can't be opened or read, or there are unknown classes.
        """
        given = data if path is None else {"path": str(path), **data}
        given = check_keys({"data": given})["data"]
        with self._turn:
            return measure(
                self.loaded, self.model, given, split=split, ignore_unknown=ignore_unknown
            )

    def merge(self) -> nn.Module:
        """Fold the adapter into the backbone: a plain model, which the classifier goes on with.

        Raises:
            UserError: the adapter can't be folded.
        """
        with self._turn:
            self.model = merged_model(self.model)
        return self.model

    def export(self, out: str | Path, *, format: str, **flags: Any) -> Exported:
        """Write it for other software; ``arcvit export --help`` lists the formats.

        Args:
            out: the file or folder to write, which isn't there yet.
            format: timm, transformers, torch, ...
            flags: settings of the format.

        Raises:
            UserError: what is asked can't be done, or what was written gives other logits; then
                nothing is written.
        """
        form = check_export(Path(out), format=format, runs=1, flags=flags)
        with self._turn:
            model = copy.deepcopy(self.model).cpu()
        adapted = adapted_model(self.loaded, name=self._name, model=model)
        return write_format(form, [adapted], Path(out), **flags)

    def _batches(self, images: Given | Iterable[Given], batch_size: int) -> Iterator[list[Single]]:
        height, width = self.preprocessing.stored
        size = max(1, min(batch_size, _BATCH_BYTES // (3 * height * width)))
        source = one_by_one(images)
        while batch := list(islice(source, size)):
            yield batch

    def _answers(
        self, batches: Iterable[list[Single]], top: int, threshold: float | None
    ) -> Iterator[Prediction]:
        for batch in batches:
            pixels, errors, blank = read(batch, self.preprocessing)
            # Rows that couldn't be read stay out: the model needn't see them, and many can't take
            # a batch of none.
            readable = [row for row in range(len(batch)) if row not in errors]
            ranked = self._ranked(pixels[readable], top, threshold) if readable else iter(())
            for row, image in enumerate(batch):
                if row in errors:
                    yield Prediction(path=file_of(image), error=errors[row])
                    continue
                indices, values, given, is_known = next(ranked)
                pairs = zip(indices, values, strict=True)
                labels = tuple(Ranked(self.labels[index], value) for index, value in pairs)
                yield Prediction(
                    path=file_of(image),
                    label=labels[0].label,
                    labels=tuple(self.labels[index] for index in given),
                    probability=labels[0].probability,
                    known=is_known,
                    top=labels,
                    blank=row in blank,
                )

    def _ranked(
        self, pixels: Tensor, top: int, threshold: float | None
    ) -> Iterator[tuple[list[int], list[float], list[int], bool | None]]:
        """Of each image the most probable labels, their probabilities, those given, and known."""
        logits, features = self._forward(pixels)
        probabilities = self._probabilities(logits)
        best = probabilities.topk(top)
        given = self._given(probabilities, threshold)
        known = self._known(features, best.values[:, 0], threshold)
        return zip(best.indices.tolist(), best.values.tolist(), given, known, strict=True)

    def _probabilities(self, logits: Tensor) -> Tensor:
        """Of each label, (N, K)."""
        calibration = self.calibration
        logits = logits if calibration is None else logits / calibration.temperature
        return logits.sigmoid() if self.is_multilabel else logits.softmax(-1)

    def _given(self, probabilities: Tensor, threshold: float | None) -> list[list[int]]:
        """The labels that each image is given, the most probable first, N lists."""
        return [self.loaded.task.given(row, threshold) for row in probabilities.tolist()]

    def _known(
        self, features: Tensor, probability: Tensor, threshold: float | None
    ) -> list[bool] | list[None]:
        """Whether each image is known, (N,)."""
        if threshold is not None and not self.is_multilabel:
            return (probability >= threshold).tolist()
        if self.calibration is None or self.loaded.means is None:
            return [None] * len(features)
        return (likeness(features, self.loaded.means) >= self.calibration.threshold).tolist()

    def _forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, K) and features (N, d) of decoded images, on the CPU."""
        seen: list[Tensor] = []
        with self._turn, torch.inference_mode():
            hook = self._head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
            try:
                output = self.model(self._to_input.to(self.device)(pixels.to(self.device)))
            finally:
                hook.remove()
        return logits_of(output).float().cpu(), seen[0].flatten(1).float().cpu()

    @property
    def _name(self) -> str:
        return name_of(self.loaded.folder) if isinstance(self.loaded, LoadedRun) else "adapter"

    @property
    def _head(self) -> nn.Module:
        root = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        return root.get_submodule(self.loaded.task.head)
