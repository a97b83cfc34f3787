"""What each method trains, as PEFT configs; full fine-tuning needs none."""

import re
import warnings

from peft import LNTuningConfig, LoraConfig, PeftConfig, VeraConfig, get_peft_model
from peft.utils.constants import DUMMY_TARGET_MODULES
from torch import nn

import arcvit.baselines.register  # noqa: F401  PEFT knows them
from arcvit.arc.register import ArcConfig
from arcvit.baselines.adaptformer import AdaptFormerConfig
from arcvit.baselines.ssf import SsfConfig
from arcvit.baselines.vpt import VptConfig
from arcvit.core.errors import UserError, nearest
from arcvit.recipe.recipe import ArcOptions, Recipe


def arc_config(options: ArcOptions, *, variant: str, head: str) -> ArcConfig:
    """The ARC config of a recipe."""
    return ArcConfig(
        r=options.r,
        variant=variant,  # type: ignore[arg-type]
        arc_dropout=options.dropout,
        adapter_bias=options.bias == "arc",
        modules_to_save=[head],
    )


def peft_config(recipe: Recipe, head: str, model: nn.Module) -> PeftConfig | None:
    """The PEFT config of a recipe's method; None for full fine-tuning.

    The linear probe and bias tuning are LoRA without any LoRA layer: PEFT then saves the head
    (and, with ``bias="all"``, every bias), and loads them like any adapter.
    """
    match recipe.method:
        case "arc" | "arc_att":
            return arc_config(recipe.arc, variant=recipe.method, head=head)
        case "lora":
            return LoraConfig(
                r=recipe.lora.r,
                lora_alpha=recipe.lora.alpha,
                lora_dropout=recipe.lora.dropout,
                target_modules=recipe.lora.targets,
                modules_to_save=[head],
            )
        case "linear" | "bitfit":
            return LoraConfig(
                target_modules=DUMMY_TARGET_MODULES,
                bias="all" if recipe.method == "bitfit" else "none",
                modules_to_save=[head],
            )
        case "lnorm":
            return LNTuningConfig(target_modules=_layer_norms(model), modules_to_save=[head])
        case "vera":
            return VeraConfig(
                r=recipe.vera.r,
                d_initial=recipe.vera.start,
                vera_dropout=recipe.vera.dropout,
                target_modules=recipe.vera.targets,
                modules_to_save=[head],
            )
        case "vpt":
            return VptConfig(
                prompts=recipe.vpt.prompts,
                deep=recipe.vpt.deep,
                dropout=recipe.vpt.dropout,
                modules_to_save=[head],
            )
        case "adaptformer":
            return AdaptFormerConfig(
                r=recipe.adaptformer.r,
                scale=recipe.adaptformer.scale,
                dropout=recipe.adaptformer.dropout,
                modules_to_save=[head],
            )
        case "ssf":
            return SsfConfig(modules_to_save=[head])
        case "full":
            return None


def adapt(model: nn.Module, recipe: Recipe, head: str) -> nn.Module:
    """Make the parts of a model trainable that the recipe's method trains, and no others.

    Returns:
        A ``PeftModel``, or the model itself for full fine-tuning.

    Raises:
        UserError: the method can't be put on this model.
    """
    config = peft_config(recipe, head, model)
    if config is None:
        return model.requires_grad_(True)
    if recipe.method == "lora":
        _check_targets(model, "lora.targets", recipe.lora.targets, recipe.backbone)
    if recipe.method == "vera":
        _check_targets(model, "vera.targets", recipe.vera.targets, recipe.backbone)
    try:
        with warnings.catch_warnings():
            # PEFT's own LayerNorm tuning meets LayerNorms, which another part of it doesn't expect.
            warnings.filterwarnings("ignore", message="Unsupported layer type")
            adapted: nn.Module = get_peft_model(model, config)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(
            f"method {recipe.method!r} can't be put on {recipe.backbone!r}: {error}"
        ) from error
    return adapted


def _layer_norms(model: nn.Module) -> str:
    """All LayerNorms as a regular expression: in a list, ``norm`` would also name others' ends."""
    names = [name for name, module in model.named_modules() if isinstance(module, nn.LayerNorm)]
    if not names:
        raise UserError(f"lnorm can't be put on {type(model).__name__}: it has no LayerNorm.")
    return "|".join(map(re.escape, names))


def _check_targets(model: nn.Module, key: str, targets: list[str], backbone: str) -> None:
    """Refuse names that no layer ends in: PEFT takes a list if one of them fits."""
    modules = dict(model.named_modules())
    linear = [name for name, module in modules.items() if isinstance(module, nn.Linear)]
    leaves = list(dict.fromkeys(name.rpartition(".")[2] for name in linear))
    for target in targets:
        named = [name for name in modules if f".{name}".endswith(f".{target}")]
        if not named:
            raise UserError(
                f"{key} names {target!r}, which {backbone!r} hasn't: expected linear layers,"
                f" as {', '.join(leaves)}.{nearest(target, leaves)}"
            )
        wrong = [name for name in named if not isinstance(modules[name], nn.Linear | nn.Conv2d)]
        if wrong:
            kind = type(modules[wrong[0]]).__name__
            raise UserError(
                f"{key} names {target!r}, but {wrong[0]!r} ({kind}) can't carry an adapter:"
                f" expected linear layers, as {', '.join(leaves)}."
            )
