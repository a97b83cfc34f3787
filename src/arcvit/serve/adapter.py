"""An adapter in memory, ready for a slot; read from a folder that a stranger may have filled.

K labels, d width of the features that the head reads.
"""

import copy
import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from peft import PeftConfig
from torch import Tensor, nn

from arcvit.arc.config import ArcConfig
from arcvit.arc.fingerprint import is_same
from arcvit.arc.plan import PlannedSite
from arcvit.arc.slots import Packed, pack
from arcvit.arc.state import check_state
from arcvit.arc.unattached import unattached, wrap_sites
from arcvit.core.errors import UserError
from arcvit.core.settings import shown
from arcvit.core.task import AdapterTask
from arcvit.data.pixels.preset import Preprocessing
from arcvit.export.folded import merged_model
from arcvit.methods.shareable import why_not_shared
from arcvit.methods.stored import WRAPPED, StoredAdapter, read_stored
from arcvit.recipe.adapter import load_adapter

_FOLDED = "list the task under folded in adapters.yaml to serve it by a model of its own"


@dataclass(eq=False, kw_only=True)
class Adapter:
    """A version of a task in memory. What was replaced or removed serves those who have it.

    Attributes:
        task: name of the task.
        version: of the task.
        about: what its outputs mean.
        labels: class names in the order of the logits.
        preprocessing: how its images are prepared.
        sites: what each of its sites is, for the model to wrap.
        packed: its numbers, by the widths of its sites.
        weight: of the head, (K, d).
        bias: of the head, (K,).
        means: the classes' mean features, of length one, (K, d); None where it isn't calibrated.
        folded: a model of its own, whose outputs are logits; None: it shares the backbone.
        folded_bytes: memory that takes, without the weights that are the backbone's.
        removed: why it must not be served any more; None: it may.
        pinned: whether it stays on the device.
    """

    task: str
    version: int
    about: AdapterTask
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    sites: dict[str, PlannedSite] = field(default_factory=dict)
    packed: Packed = field(default_factory=dict)
    weight: Tensor
    bias: Tensor
    means: Tensor | None
    folded: nn.Module | None = None
    folded_bytes: int = 0
    removed: str | None = None
    pinned: bool = False

    @property
    def bytes(self) -> int:
        """Memory it takes."""
        tensors = [t for part in self.packed.values() for t in part.tensors]
        tensors += [t for t in (self.weight, self.bias, self.means) if t is not None]
        return self.folded_bytes + sum(t.nbytes for t in tensors)


class AdapterReader:
    """Reads adapters for one backbone. One thread at a time may.

    Args:
        backbone: its name, from which folded models are built.
        model: the backbone; a copy without weights is kept, and the weights, for folded models to
            share.
        head: qualified name of its head.
        fingerprint: of its weights.
        input_size: height and width of its input, in pixels.
        device: where it runs.
        max_pixels: of an image.
        max_rank: of an adapter.
    """

    def __init__(
        self,
        backbone: str,
        model: nn.Module,
        *,
        head: str,
        fingerprint: str,
        input_size: tuple[int, int],
        device: torch.device,
        max_pixels: int,
        max_rank: int,
    ) -> None:
        self._backbone = backbone
        self._skeleton = copy.deepcopy(model).to("meta")
        self._weights = dict(model.named_parameters())
        self._head = head
        self._fingerprint = fingerprint
        self._input_size = input_size
        self._device = device
        self._max_pixels = max_pixels
        self._max_rank = max_rank

    @property
    def backbone_mb(self) -> int:
        """Megabytes of the backbone's weights."""
        return sum(weight.nbytes for weight in self._weights.values()) // 10**6

    def read(self, task: str, version: int, folder: Path, *, folded: bool = False) -> Adapter:
        """Read a version of a task.

        Args:
            task: its name.
            version: of it.
            folder: of the adapter.
            folded: whether it gets a model of its own, with the adapter folded in.

        Raises:
            UserError: the folder is damaged, or the adapter can't be served; one sentence says why.
        """
        try:
            return self._read(task, version, folder, folded)
        except UserError as error:
            # Who asks need not know where the server keeps its files.
            raise UserError(str(error).replace(str(folder), task)) from error
        except Exception as error:  # what PEFT or torch make of odd files
            text = " ".join(str(error).split())[:200].replace(str(folder), task)
            raise UserError(f"{task} is damaged: {type(error).__name__}: {text}.") from error

    def _read(self, task: str, version: int, folder: Path, folded: bool) -> Adapter:
        stored = read_stored(folder)
        about = stored.task
        prep = Preprocessing.from_dict(about.preprocessing)
        prep = dataclasses.replace(prep, max_pixels=min(prep.max_pixels, self._max_pixels))
        self._check_backbone(about)
        means = None if stored.means is None else F.normalize(stored.means)
        given: dict[str, Any] = {
            "task": task,
            "version": version,
            "about": about,
            "labels": tuple(about.labels),
            "preprocessing": prep,
            "means": means,
        }
        if folded:
            model, size = self._folded(folder, about.head)
            nothing = torch.zeros(0)
            return Adapter(**given, folded=model, folded_bytes=size, weight=nothing, bias=nothing)
        if prep.size != self._input_size:
            sizes = [f"{height} x {width}" for height, width in (prep.size, self._input_size)]
            raise UserError(f"its images are {sizes[0]} pixels, and those served {sizes[1]}.")
        config = self._shareable(stored)
        weight, bias, rest = self._split(stored)
        if isinstance(config, ArcConfig):
            parts = unattached(config, rest, self._skeleton)
        else:
            check_state({}, rest)
            parts = {}
        sites = {name: part.planned for name, part in parts.items()}
        packed = pack(parts, pin=self._device.type == "cuda")
        rank = max((part.rank for part in packed.values()), default=0)
        if rank > self._max_rank:
            raise UserError(
                f"its rank is {rank}, and the server takes up to {self._max_rank} (max_rank)."
            )
        wrap_sites(self._skeleton, sites)  # adapters whose places differ can't stand side by side
        return Adapter(**given, sites=sites, packed=packed, weight=weight, bias=bias)

    def _check_backbone(self, about: AdapterTask) -> None:
        expected = about.backbone.fingerprint
        if expected is not None and not is_same(self._fingerprint, expected):
            raise UserError(
                f"it was trained on {about.backbone.name!r} ({expected}), and the backbone served"
                f" here has other weights ({self._fingerprint})."
            )
        if about.head != self._head:
            raise UserError(f"its head is {shown(about.head)}: the backbone's is {self._head!r}.")

    def _shareable(self, stored: StoredAdapter) -> PeftConfig:
        """The config of an adapter that can share a batch with others."""
        why = why_not_shared(stored.config, self._head)
        if why is not None:
            raise UserError(f"{why}: {_FOLDED}.")
        assert stored.config is not None
        return stored.config

    def _split(self, stored: StoredAdapter) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Weight and bias of the head, and all else, by the names in the plain model."""
        state = {key.removeprefix(WRAPPED): value for key, value in stored.state.items()}
        own = self._skeleton.get_submodule(self._head)
        labels = len(stored.task.labels)
        head = {key: state.pop(key) for key in list(state) if key.startswith(f"{self._head}.")}
        expected = {
            f"{self._head}.{name}": torch.empty(labels, *value.shape[1:], device="meta")
            for name, value in own.named_parameters()
        }
        check_state(expected, head)
        # Copies: tensors of the file would keep all of it, though it is removed.
        weight = head[f"{self._head}.weight"].to(torch.float32, copy=True)
        bias = head.get(f"{self._head}.bias", torch.zeros(labels))
        return weight, bias.to(torch.float32, copy=True), state

    def _folded(self, folder: Path, head: str) -> tuple[nn.Module, int]:
        """A plain model with the adapter folded in, and the bytes of what is its own in it."""
        loaded = load_adapter(folder, backbone=self._backbone, device="cpu")
        try:
            model = merged_model(loaded.model)
        except ValueError as error:
            raise UserError(f"it can't be folded: {error}") from error
        model.get_submodule(head)  # what merging leaves must still have it
        model = model.requires_grad_(False).eval().to(self._device)
        own = list(model.buffers())
        for name, weight in list(model.named_parameters()):
            of_backbone = self._weights.get(name)
            if of_backbone is not None and torch.equal(of_backbone, weight):
                module, _, attribute = name.rpartition(".")
                setattr(model.get_submodule(module), attribute, of_backbone)
            else:
                own.append(weight)
        return model, sum(tensor.nbytes for tensor in own)
