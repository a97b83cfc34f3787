"""The model that serves every task: backbone, slots and heads. One thread owns it.

B images of a batch, K labels of a task, T labels of all tasks in the batch, d width of the features
"""

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from arcvit.arc.call import carried
from arcvit.arc.fingerprint import fingerprint
from arcvit.arc.slots import NONE, Slots
from arcvit.arc.unattached import wrap_sites
from arcvit.backbones.build import build_backbone
from arcvit.backbones.logits import logits_of
from arcvit.core.errors import UserError
from arcvit.data.pixels.preset import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, resolve_preset
from arcvit.engine.device import choose_device
from arcvit.serve.adapter import Adapter, AdapterReader
from arcvit.serve.settings import ServeSettings

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class Output:
    """What came out for one image.

    Attributes:
        probabilities: of each label, ``float32`` (K,); the features (d,) where no task was asked.
        known: whether the image is like those learned; None where that can't be told.
    """

    probabilities: np.ndarray
    known: bool | None


@dataclass(frozen=True, kw_only=True)
class _OnDevice:
    """An adapter that stands in a slot."""

    slot: int
    weight: Tensor
    bias: Tensor
    means: Tensor | None


class ServedModel:
    """A backbone that answers for many adapters in one batch.

    Args:
        backbone: its name.
        settings: of the server.

    Raises:
        UserError: the backbone can't be had, or its outputs can't be taken.
    """

    def __init__(self, backbone: str, settings: ServeSettings) -> None:
        self.device = torch.device(choose_device(settings.device))
        if settings.precision != "fp32" and self.device.type == "cpu":
            raise UserError(f"precision {settings.precision} needs a GPU: expected fp32 on a CPU.")
        built = build_backbone(backbone, num_classes=1, image_size=settings.image_size)
        self._model = built.model.requires_grad_(False).eval()
        self._head = built.head
        self.input_size = built.input_size
        self.preprocessing = self._own_preprocessing(built.data_config)
        self.reader = AdapterReader(
            backbone,
            self._model,
            head=built.head,
            fingerprint=fingerprint(self._model, exclude=[built.head]),
            input_size=built.input_size,
            device=self.device,
            max_pixels=settings.max_pixels,
            max_rank=settings.max_rank,
        )
        self._model.set_submodule(built.head, nn.Identity())
        self._model.to(self.device)
        self._dtype = _DTYPES[settings.precision]
        self._slots = Slots(settings.slots, self.device, self._dtype)
        self._free = list(range(settings.slots))
        self._resident: OrderedDict[Adapter, _OnDevice] = OrderedDict()
        self._most = settings.max_batch
        self._staging: Tensor | None = None

    @property
    def resident(self) -> list[Adapter]:
        """The adapters on the device, the one asked for last at the end."""
        return list(self._resident)

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Run once, so that the first request needn't wait for what only a first pass does."""
        sizes = [1, self._most] if self.device.type == "cuda" else [1]
        for size in sizes:
            row = torch.zeros(3, *self.input_size, dtype=torch.uint8)
            self.run([row] * size, [None] * size)

    @torch.inference_mode()
    def place(self, adapters: Sequence[Adapter]) -> None:
        """Bring adapters onto the device that may stand there together, and let others go.

        Raises:
            UserError: there aren't as many slots.
        """
        for adapter in adapters:
            if adapter in self._resident:
                self._resident.move_to_end(adapter)
            elif adapter.folded is None:
                self._put(adapter, keep=adapters)

    @torch.inference_mode()
    def retire(self, adapter: Adapter) -> None:
        """Free the slot of an adapter that isn't asked for any more."""
        held = self._resident.pop(adapter, None)
        if held is not None:
            self._slots.clear(held.slot)
            self._free.append(held.slot)

    @torch.inference_mode()
    def run(self, rows: Sequence[Tensor], adapters: Sequence[Adapter | None]) -> list[Output]:
        """One pass.

        Args:
            rows: an image each, ``uint8`` or, already preprocessed, ``float32``, (3, h, w).
            adapters: of each row, resident; or all of them one that is folded; None: the features
                are asked for.
        """
        images = self._inputs(rows, adapters)
        own = adapters[0].folded if adapters[0] is not None else None
        if own is not None:
            assert adapters[0] is not None
            return self._run_folded(own, images, adapters[0])
        held = [None if adapter is None else self._resident[adapter] for adapter in adapters]
        call = self._slots.rows([NONE if on is None else on.slot for on in held])
        with carried(call), self._autocast():
            features = logits_of(self._model(images)).flatten(1).float()
        return self._answers(features, adapters)

    def _put(self, adapter: Adapter, keep: Sequence[Adapter]) -> None:
        if not self._free:
            wanted = set(keep)
            for other in self._resident:  # from the one that wasn't asked for the longest
                if other not in wanted and (not other.pinned or other.removed is not None):
                    self.retire(other)
                    break
            else:
                raise UserError(
                    f"all {self._slots.slots} slots are taken by adapters that stay: give more"
                    " slots or pin fewer."
                )
        slot = self._free.pop()
        try:
            wrap_sites(self._model, adapter.sites)
            self._slots.put(slot, adapter.packed)
            self._resident[adapter] = _OnDevice(
                slot=slot,
                weight=adapter.weight.to(self.device),
                bias=adapter.bias.to(self.device),
                means=None if adapter.means is None else adapter.means.to(self.device),
            )
        except BaseException:
            self._slots.clear(slot)
            self._free.append(slot)
            raise

    def _inputs(self, rows: Sequence[Tensor], adapters: Sequence[Adapter | None]) -> Tensor:
        """The backbone's input, (B, 3, h, w)."""
        whole = [row.dtype == torch.uint8 for row in rows]
        if not any(whole):
            return torch.stack(list(rows)).to(self.device)
        stored = self._stacked([row if row.dtype == torch.uint8 else _BLACK for row in rows])
        preps = [self.preprocessing if a is None else a.preprocessing for a in adapters]
        # A backbone that doesn't say how its images are prepared is given them as they are.
        of_row = [(IMAGENET_MEAN, IMAGENET_STD) if p is None else (p.mean, p.std) for p in preps]
        looks = list(dict.fromkeys(of_row))
        which = torch.tensor([looks.index(look) for look in of_row])
        mean, std = torch.tensor(looks).view(len(looks), 2, 3, 1, 1).unbind(1)
        if len(looks) > 1:
            mean, std = mean[which], std[which]
        images = stored.float().div_(255).sub_(mean.to(self.device)).div_(std.to(self.device))
        for row, as_it_is in enumerate(whole):
            if not as_it_is:
                images[row] = rows[row].to(self.device)
        return images

    def _stacked(self, rows: list[Tensor]) -> Tensor:
        shape = next(row.shape for row in rows if row is not _BLACK)
        if self.device.type != "cuda" or shape[1:] != self.input_size:
            return torch.stack([row.expand(shape) for row in rows]).to(self.device)
        if self._staging is None:
            size = (self._most, 3, *self.input_size)
            self._staging = torch.empty(size, dtype=torch.uint8, pin_memory=True)
        staged = self._staging[: len(rows)]
        for place, row in zip(staged, rows, strict=True):
            place.copy_(row)
        return staged.to(self.device, non_blocking=True)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self._dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self._dtype)

    def _run_folded(self, model: nn.Module, images: Tensor, adapter: Adapter) -> list[Output]:
        seen: list[Tensor] = []
        head = model.get_submodule(adapter.about.head)
        hook = head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            with self._autocast():
                logits = logits_of(model(images)).float()
        finally:
            hook.remove()
        known = None
        if adapter.means is not None:
            means = adapter.means.to(self.device)
            known = (F.normalize(seen[0].flatten(1).float()) @ means.T).amax(-1)
        return _outputs(logits, known, [adapter] * len(images))

    def _answers(self, features: Tensor, adapters: Sequence[Adapter | None]) -> list[Output]:
        """Every row through its own head.

        All heads are one matrix (T, d), of whose products each row takes its own. What that
        multiplies in vain is little beside the backbone, and heads needn't be of one size.
        """
        asked = {a: self._resident[a] for a in dict.fromkeys(adapters) if a is not None}
        plain = [row for row, adapter in enumerate(adapters) if adapter is None]
        embedded = dict(zip(plain, features[plain].cpu().numpy(), strict=True)) if plain else {}
        answers: list[Output] = []
        if asked:
            starts: dict[Adapter | None, int] = {}
            total = 0
            for adapter in asked:
                starts[adapter] = total
                total += len(adapter.labels)
            rows = [row for row, adapter in enumerate(adapters) if adapter is not None]
            sizes = torch.tensor([len(adapters[row].labels) for row in rows])  # type: ignore[union-attr]
            first = torch.tensor([starts[adapters[row]] for row in rows])
            places = torch.arange(int(sizes.max()))
            beyond = (places >= sizes[:, None]).to(self.device)
            at = (first[:, None] + places).clamp(max=total - 1).to(self.device)
            given = features if len(rows) == len(adapters) else features[rows]
            weight = torch.cat([on.weight for on in asked.values()])
            bias = torch.cat([on.bias for on in asked.values()])
            logits = F.linear(given, weight, bias).gather(1, at)
            likeness = None
            if any(on.means is not None for on in asked.values()):
                means = [
                    on.weight.new_zeros(on.weight.shape) if on.means is None else on.means
                    for on in asked.values()
                ]
                cosines = (F.normalize(given) @ torch.cat(means).T).gather(1, at)
                likeness = cosines.masked_fill_(beyond, -torch.inf).amax(-1)
            logits.masked_fill_(beyond, -torch.inf)
            answers = _outputs(logits, likeness, [adapters[row] for row in rows])
        answered = iter(answers)
        return [
            Output(probabilities=embedded[row], known=None) if row in embedded else next(answered)
            for row in range(len(adapters))
        ]

    def _own_preprocessing(self, data_config: dict[str, Any]) -> Preprocessing | None:
        try:
            return resolve_preset("model", input_size=self.input_size, data_config=data_config)
        except UserError:
            return None


_BLACK = torch.zeros(1, 1, 1, dtype=torch.uint8)
"""In the place of a row that is given as it is."""


def _outputs(
    logits: Tensor, likeness: Tensor | None, adapters: Sequence[Adapter | None]
) -> list[Output]:
    """What logits (B, K), padded with minus infinity, and likenesses (B,) say."""
    abouts = [adapter.about for adapter in adapters if adapter is not None]
    multi = torch.tensor([a.kind == "multilabel" for a in abouts])
    heats = [1.0 if a.calibration is None else a.calibration.temperature for a in abouts]
    if any(heat != 1.0 for heat in heats):
        logits = logits / torch.tensor(heats).to(logits)[:, None]
    probabilities = logits.softmax(-1)
    if bool(multi.any()):
        probabilities = torch.where(
            multi.to(logits.device)[:, None], logits.sigmoid(), probabilities
        )
    rows = probabilities.cpu().numpy()
    likenesses = [None] * len(abouts) if likeness is None else likeness.tolist()
    outputs = []
    for row, like, about in zip(rows, likenesses, abouts, strict=True):
        known = None
        if about.calibration is not None and like is not None:
            known = like >= about.calibration.threshold
        outputs.append(Output(probabilities=row[: len(about.labels)].copy(), known=known))
    return outputs
