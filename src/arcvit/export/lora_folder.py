"""Write an adapter as plain LoRA, which PEFT loads on the plain backbone.

What ARC folds into the layers that consume an adapted tensor is a product of two matrices of its
rank r and a shift of their bias, exactly: LoRA with a bias of its own. Shared projections are then
written once a layer, so it is larger.
"""

import copy
import dataclasses
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict
from torch import nn

from arcvit.arc.config import ArcConfig
from arcvit.arc.fold import lora_at_consumers
from arcvit.arc.functional import LoraFactors
from arcvit.backbones.plain_code import code_of_backbone
from arcvit.core.errors import UserError
from arcvit.core.shown import python_text
from arcvit.export.adapted import AdaptedModel, Written, logits_on
from arcvit.export.lost import lost_beside_metadata

_LOADING = """\
import peft, {library}
backbone = {backbone}
model = peft.PeftModel.from_pretrained(backbone, {place}).eval()"""


def write_lora(runs: Sequence[AdaptedModel], out: Path) -> Written:
    """Write PEFT's files and ``task.json``, load them with PEFT, and compare.

    Raises:
        UserError: it isn't ARC or LoRA, a layer can't carry LoRA, or the logits differ.
    """
    (run,) = runs
    model = run.model
    config: Any = model.peft_config[model.active_adapter] if isinstance(model, PeftModel) else None
    if not isinstance(config, ArcConfig | LoraConfig):
        kind = "a model that was trained whole or merged"
        if config is not None:
            kind = f"an adapter of {str.__str__(config.peft_type)}"
        raise UserError(
            f"{kind} can't be written as LoRA: expected an adapter of ARC or LoRA; --format timm"
            " folds what can be folded."
        )
    assert isinstance(model, PeftModel)
    notes = list(lost_beside_metadata(run.task))
    if isinstance(config, ArcConfig):
        lora, without_bias = as_lora(model)
        sizes = [_size(each, run.task.head) for each in (lora, model)]
        notes.append(
            f"Without the head the LoRA takes {sizes[0] / 1e3:,.0f} KB, the ARC adapter"
            f" {sizes[1] / 1e3:,.0f} KB."
        )
        if without_bias:
            notes.append(
                f"PEFT can't merge it: {len(without_bias)} of its layers have no bias in the"
                f" backbone, such as {without_bias[0]}."
            )
    else:
        lora = copy.deepcopy(model)
    with _bias_is_meant():
        lora.save_pretrained(str(out), save_embedding_layers=False)
    (out / "README.md").unlink(missing_ok=True)  # PEFT's template, all of it blank
    # The means by which the unknown is told aren't in the folder.
    dataclasses.replace(run.task, calibration=None).write(out)
    plain = lora.unload()
    _zero(plain.get_submodule(run.task.head))
    with _bias_is_meant():
        reloaded = PeftModel.from_pretrained(plain, str(out))
    try:
        library, backbone = code_of_backbone(run.task)
    except UserError:  # it has moved, the hub can't be reached, or its weights are arcvit's own
        asked = run.task.backbone
        name = python_text(f"{asked.name}, {asked.weights} weights")
        library, backbone = "timm", f"...  # {name}, {len(run.labels)} outputs"
    return Written(
        difference=run.compare(logits_on(reloaded, run.images), "LoRA in PEFT"),
        loading=lambda place: _LOADING.format(
            library=library, backbone=backbone, place=python_text(place)
        ),
        notes=tuple(notes),
    )


@torch.no_grad()
def as_lora(model: PeftModel) -> tuple[PeftModel, list[str]]:
    """A copy of a model whose active ARC adapter has become LoRA, exactly.

    Returns:
        The copy, and the layers that get a bias though they have none in the backbone.

    Raises:
        UserError: a layer can't carry LoRA.
    """
    name = model.active_adapter
    try:
        found = lora_at_consumers(model.get_base_model(), name)
    except ValueError as error:
        raise UserError(str(error)) from error
    plain = copy.deepcopy(model).unload()
    with _bias_is_meant():
        lora = get_peft_model(plain, _config(found, model.peft_config[name].modules_to_save))
    without_bias = []
    for layer_name, factors in found.items():
        layer = lora.get_base_model().get_submodule(layer_name)
        down, up = layer.lora_A["default"], layer.lora_B["default"]
        down.weight.copy_(factors.a)
        up.weight.copy_(factors.b)
        if up.bias is not None:
            up.bias.zero_() if factors.bias is None else up.bias.copy_(factors.bias)
            if layer.get_base_layer().bias is None:
                without_bias.append(layer_name)
    return lora.eval(), without_bias


def _config(found: Mapping[str, LoraFactors], modules_to_save: list[str] | None) -> LoraConfig:
    """Rank and alpha are equal everywhere: nothing is scaled."""
    ranks = {name: len(factors.a) for name, factors in found.items()}
    ((rank, _),) = Counter(ranks.values()).most_common(1)
    others = {re.escape(name): r for name, r in ranks.items() if r != rank}
    return LoraConfig(
        r=rank,
        lora_alpha=rank,
        rank_pattern=others,
        alpha_pattern=dict(others),
        target_modules=list(found),
        lora_bias=any(factors.bias is not None for factors in found.values()),
        modules_to_save=modules_to_save,
        inference_mode=True,
    )


def _size(model: PeftModel, head: str) -> int:
    """Bytes of what was learned without the head."""
    with _bias_is_meant():
        state = get_peft_model_state_dict(model, save_embedding_layers=False)
    return sum(t.nbytes for name, t in state.items() if f".{head}." not in f".{name}")


@contextmanager
def _bias_is_meant() -> Iterator[None]:
    """Within the context PEFT doesn't warn of biases of LoRA.

    It takes one, which has one dimension, for a shard; and it can't merge one into a layer without
    a bias, which we say ourselves.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".* LoRA tensor\(s\) have invalid shape")
        warnings.filterwarnings("ignore", message=r"`lora_bias=True` was passed")
        yield


@torch.no_grad()
def _zero(module: nn.Module) -> None:
    """So that what is compared must come from the file."""
    for parameter in module.parameters():
        parameter.zero_()
