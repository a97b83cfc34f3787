"""What each method trains, as PEFT configs; full fine-tuning needs none."""

from typing import Any

from peft import LoraConfig, PeftConfig, get_peft_model
from peft.utils.constants import DUMMY_TARGET_MODULES
from torch import nn

from arcvit.arc.config import ArcConfig
from arcvit.core.errors import UserError
from arcvit.recipe.recipe import ArcOptions, Recipe


def arc_config(options: ArcOptions, *, variant: str, head: str) -> ArcConfig:
    """The ARC config of a recipe."""
    return ArcConfig(
        r=options.r,
        variant=variant,  # type: ignore[arg-type]
        dropout=options.dropout,
        bias=options.bias,
        modules_to_save=[head],
    )


def peft_config(recipe: Recipe, head: str) -> PeftConfig | None:
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
        case "full":
            return None


def adapt(model: nn.Module, recipe: Recipe, head: str) -> nn.Module:
    """Make the parts of a model trainable that the recipe's method trains, and no others.

    Returns:
        A ``PeftModel``, or the model itself for full fine-tuning.

    Raises:
        UserError: the method can't be put on this model.
    """
    config = peft_config(recipe, head)
    if config is None:
        return model.requires_grad_(True)
    try:
        adapted: nn.Module = get_peft_model(model, config)
    except UserError:
        raise
    except ValueError as error:
        raise UserError(
            f"method {recipe.method!r} can't be put on {recipe.backbone!r}: {error}"
        ) from error
    return adapted


def task_card(
    *, classes: tuple[str, ...], preprocessing: dict[str, Any], backbone: str, fingerprint: str
) -> dict[str, Any]:
    """What prediction needs to know beside the weights."""
    return {
        "classes": list(classes),
        "preprocessing": preprocessing,
        "backbone": backbone,
        "backbone_fingerprint": fingerprint,
    }
