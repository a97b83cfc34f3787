"""Adapter folders: what was learned, saved with what its outputs mean, and loaded again.

A folder holds PEFT's files and ``task.json``. Full fine-tuning has no adapter; its folder holds the
whole model instead.
"""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import timm.data
from peft import MODEL_TYPE_TO_PEFT_MODEL_MAPPING, PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn

from arcvit.arc.fingerprint import check_fingerprint, fingerprint
from arcvit.arc.register import ArcConfig
from arcvit.arc.state import check_state, loads_whole
from arcvit.backbones.build import build_backbone, head_name
from arcvit.backbones.labels import name_labels
from arcvit.core.errors import UserError
from arcvit.core.files import atomic_path, read_json, write_text
from arcvit.core.settings import shown
from arcvit.core.task import TASK_FILE, AdapterTask, Kind, TaskBackbone
from arcvit.data.pixels.preset import MAX_PIXELS, Preprocessing, resolve_preset
from arcvit.engine.device import choose_device
from arcvit.export.hub import pull_folder
from arcvit.export.model_card import CARD_FILE, model_card
from arcvit.methods.means import write_means
from arcvit.methods.stored import CONFIG_FILE, WHOLE_FILE, StoredAdapter, read_stored


@dataclass(frozen=True, kw_only=True)
class LoadedAdapter:
    """An adapter on its backbone, ready for inference.

    Attributes:
        model: a ``PeftModel`` in evaluation mode, or a plain model that was trained whole.
        task: what its outputs mean.
        means: the classes' mean features, (K, d); None where it isn't calibrated.
    """

    model: nn.Module
    task: AdapterTask
    means: Tensor | None = None

    @property
    def labels(self) -> list[str]:
        """Class names in the order of the logits."""
        return self.task.labels

    @property
    def preprocessing(self) -> Preprocessing:
        """How images are prepared."""
        prep = Preprocessing.from_dict(self.task.preprocessing)
        # How much memory an image may cost is said by who runs it, not by who made the adapter.
        return dataclasses.replace(prep, max_pixels=min(prep.max_pixels, MAX_PIXELS))


def save_adapter(
    model: nn.Module,
    folder: str | Path,
    *,
    labels: Sequence[str],
    backbone: str,
    preprocessing: str | Preprocessing = "model",
    image_size: int | None = None,
    head: str | None = None,
    kind: Kind = "single",
    thresholds: Sequence[float] | None = None,
    results: Mapping[str, Any] | None = None,
) -> None:
    """Save an adapter with ``task.json`` and a model card, so that ``load_adapter`` needs no more.

    Args:
        model: a ``PeftModel``, whose active adapter is saved, or a model that was trained whole.
        folder: where to; an adapter that is there is replaced.
        labels: class names in the order of the logits.
        backbone: name of the backbone: a timm name, a file, a folder or demo.
        preprocessing: how its images are prepared; the name of a preset works for timm's models.
        image_size: edge of the input in pixels, where it isn't the backbone's own.
        head: qualified name of the head; None: the one module in ``modules_to_save``.
        kind: an image has one of the labels (single) or any number of them (multilabel).
        thresholds: from which probability on each label is given, with multilabel; None: 0.5.
        results: what came out, for the model card: task, val_accuracy, test_accuracy, metrics.

    Raises:
        UserError: the head isn't saved, or doesn't have an output for each label, or the
            thresholds aren't one for each.
    """
    if thresholds is not None and (kind != "multilabel" or len(thresholds) != len(labels)):
        raise UserError(
            f"{len(thresholds)} thresholds for {len(labels)} labels of kind {kind}: expected one a"
            " label, and kind='multilabel'."
        )
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    head = _head(model, head)
    outputs = getattr(base.get_submodule(head), "out_features", len(labels))
    if outputs != len(labels):
        raise UserError(f"{len(labels)} labels for the head {head!r}, which has {outputs} outputs.")
    name_labels(base, labels, kind)
    if isinstance(preprocessing, str):
        preprocessing = _preset(preprocessing, base, image_size)
    task = AdapterTask(
        labels=list(labels),
        kind=kind,
        thresholds=None if thresholds is None else list(map(float, thresholds)),
        head=head,
        preprocessing=preprocessing.to_dict(),
        backbone=TaskBackbone(
            name=backbone, fingerprint=_own_fingerprint(model, head), image_size=image_size
        ),
        results=dict(results or {}),
    )
    write_adapter(Path(folder), model, task)


def write_adapter(
    folder: Path, model: nn.Module, task: AdapterTask, means: Tensor | None = None
) -> None:
    """Write what was learned with its task and card, atomically; means go with a calibration."""
    with atomic_path(folder) as partial:
        partial.mkdir()
        task.write(partial)
        if means is not None:
            write_means(partial, means)
        config: dict[str, Any] = {}
        if isinstance(model, PeftModel):
            _write_peft(partial, model, task)
            config = read_json(partial / CONFIG_FILE)
        else:
            state = {n: t.contiguous() for n, t in model.state_dict().items()}
            safetensors.torch.save_file(state, partial / WHOLE_FILE)
        write_text(partial / CARD_FILE, model_card(task, config))


def adapter_size(model: nn.Module, head: str) -> int:
    """Size in bytes of what was learned without the head, as a safetensors file."""
    whole = not isinstance(model, PeftModel)
    state = (
        model.state_dict()
        if whole
        else get_peft_model_state_dict(model, save_embedding_layers=False)
    )
    kept = {n: t.contiguous() for n, t in state.items() if f".{head}." not in f".{n}"}
    return len(safetensors.torch.save(kept)) if kept else 0


def load_adapter(
    source: str | Path,
    *,
    backbone: str | nn.Module | None = None,
    device: str = "auto",
    force: bool = False,
) -> LoadedAdapter:
    """Load an adapter and the backbone it was trained on.

    Args:
        source: an adapter folder, or a repository on the hub as ``USER/NAME``.
        backbone: where the backbone is now, or the model itself; None: as ``task.json`` names it.
        device: cpu, cuda or mps; auto takes the best there is.
        force: load onto weights other than those the adapter was trained on.

    Raises:
        UserError: it isn't an adapter with its task, its files are damaged, or the backbone can't
            be had or isn't the one it was trained on.
    """
    folder = Path(source)
    if not folder.is_dir():
        folder = pull_folder(str(source))
    stored = read_stored(folder)
    task, whole = stored.task, stored.config is None
    try:
        Preprocessing.from_dict(task.preprocessing)  # refused now, not at the first image
    except UserError as error:
        raise UserError(f"{folder / TASK_FILE} is damaged: {error}") from error
    if backbone is None or isinstance(backbone, str):
        name = backbone or task.backbone.name
        try:
            model = build_backbone(
                name,
                num_classes=len(task.labels),
                weights="random" if whole else task.backbone.weights,
                seed=task.backbone.seed,
                image_size=task.backbone.image_size,
                arguments=task.backbone.args,
                commit=None if backbone else task.backbone.commit,
            ).model
        except OSError as error:  # a name can be any text, too long for a file's
            raise UserError(f"backbone {shown(name)} can't be read: {error.strerror}.") from error
    else:
        name, model = type(backbone).__name__, backbone
    _check_size(model, name, task)
    if not whole and not force:
        _check_backbone(model, name, task)
    try:
        model = _load_whole(model, stored) if whole else _load_peft(model, stored, force=force)
    except UserError:
        raise
    except Exception as error:  # a config that PEFT lets through may fail anywhere in it
        what = "there is no" if isinstance(error, KeyError) else f"{type(error).__name__}:"
        raise UserError(
            f"the adapter in {folder} doesn't fit {name!r} or is damaged:"
            f" {what} {' '.join(str(error).split())[:300]}."
        ) from error
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    name_labels(base, task.labels, task.kind)
    model = model.to(choose_device(device)).eval()
    return LoadedAdapter(model=model, task=task, means=stored.means)


def _write_peft(folder: Path, model: PeftModel, task: AdapterTask) -> None:
    name = model.active_adapter
    config = model.peft_config[name]
    if isinstance(config, ArcConfig):
        # Plain PEFT resizes the head, and refuses another backbone, by these.
        config.num_classes = len(task.labels)
        config.backbone_fingerprint = task.backbone.fingerprint
    # Ours takes its place: where none is there, PEFT makes one, which takes longer than all else.
    write_text(folder / CARD_FILE, "---\n{}\n---\n")
    # Of its own accord PEFT asks the hub whether the words of a language model have changed.
    model.save_pretrained(str(folder), selected_adapters=[name], save_embedding_layers=False)
    if name != "default":
        for file in (folder / name).iterdir():
            file.rename(folder / file.name)
        (folder / name).rmdir()


def _load_whole(model: nn.Module, stored: StoredAdapter) -> nn.Module:
    check_state(model.state_dict(), stored.state)
    model.load_state_dict(stored.state)
    return model


def _load_peft(model: nn.Module, stored: StoredAdapter, *, force: bool) -> nn.Module:
    """As ``PeftModel.from_pretrained``, but for any tuner all of the adapter or an error."""
    config: Any = stored.config
    if force and isinstance(config, ArcConfig):
        config.backbone_fingerprint = None
    config.inference_mode = True
    with warnings.catch_warnings():
        # PEFT's own LayerNorm tuning meets LayerNorms, which another part of it doesn't expect.
        warnings.filterwarnings("ignore", message="Unsupported layer type")
        kind = MODEL_TYPE_TO_PEFT_MODEL_MAPPING.get(config.task_type, PeftModel)
        adapted: PeftModel = kind(model, config)
        with loads_whole(adapted, "default"):
            set_peft_model_state_dict(adapted, stored.state)
    return adapted


def _check_size(model: nn.Module, name: str, task: AdapterTask) -> None:
    """Name both sizes where the images aren't prepared in that of timm's model."""
    patches: Any = getattr(model, "patch_embed", None)
    if not getattr(patches, "strict_img_size", False):
        return
    (height, width), size = patches.img_size, tuple(task.preprocessing["size"])
    if size != (height, width):
        raise UserError(
            f"{TASK_FILE} has images of {size[0]} x {size[1]} pixels, but {name!r} takes"
            f" {height} x {width}: expected the same preprocessing.size, or a backbone.image_size"
            " that fits it."
        )


def _check_backbone(model: nn.Module, name: str, task: AdapterTask) -> None:
    """Name both backbones where the weights aren't those the adapter was trained on."""
    expected, exclude = task.backbone.fingerprint, [task.head]
    try:
        check_fingerprint(model, expected, exclude=exclude)
    except UserError as error:
        raise UserError(
            f"the adapter was trained on {task.backbone.name!r} ({expected}), but {name!r} has"
            f" other weights ({fingerprint(model, exclude=exclude)}): give that backbone"
            " (--backbone), or try it all the same (--force; in Python force=True)."
        ) from error


def _head(model: nn.Module, asked: str | None) -> str:
    """The head's name, where it is saved with the adapter."""
    if not isinstance(model, PeftModel):
        return asked or head_name(model)
    saved = list(model.peft_config[model.active_adapter].modules_to_save or [])
    if asked is None and len(saved) == 1:
        return str(saved[0])
    if asked in saved:
        return str(asked)
    raise UserError(
        f"head={asked!r}: expected one of the adapter's modules_to_save, {saved}. Make the adapter"
        " with modules_to_save=[HEAD], or the head isn't saved."
    )


def _preset(name: str, base: nn.Module, image_size: int | None) -> Preprocessing:
    if not hasattr(base, "pretrained_cfg"):
        raise UserError(
            f"preprocessing={name!r}: {type(base).__name__} isn't timm's and doesn't say how its"
            " images are prepared; give a Preprocessing."
        )
    data_config = timm.data.resolve_model_data_config(base)
    _, height, width = data_config["input_size"]
    size = (height, width) if image_size is None else (image_size, image_size)
    return resolve_preset(name, input_size=size, data_config=data_config)


def _own_fingerprint(model: nn.Module, head: str) -> str | None:
    """The fingerprint of an adapted model's backbone; None where its own weights were trained."""
    if not isinstance(model, PeftModel):
        return None
    config = model.peft_config[model.active_adapter]
    if getattr(config, "bias", "none") != "none":
        return None
    base = model.get_base_model()
    layers = [module for module in base.modules() if isinstance(module, BaseTunerLayer)]
    added = {n for layer in layers for n in (*layer.adapter_layer_names, *layer.other_param_names)}
    return fingerprint(base, exclude=[head, *sorted(added)])
