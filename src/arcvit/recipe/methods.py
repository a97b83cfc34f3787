"""Put a recipe's method on its backbone."""

from peft import PeftModel
from torch import nn

from arcvit.core.errors import UserError
from arcvit.methods.effect import without_effect
from arcvit.recipe.recipe import Recipe


def adapt(model: nn.Module, recipe: Recipe, head: str) -> nn.Module:
    """Make the parts of a model trainable that the recipe's method trains, and no others.

    Returns:
        A ``PeftModel``, or the model itself for full fine-tuning.

    Raises:
        UserError: the method can't be put on this model.
    """
    spec = recipe.spec
    # A method from outside can raise whatever it likes: its user learns whose fault it is.
    expected = ValueError if spec.origin is None else Exception
    try:
        adapted: nn.Module = spec.build(model, recipe.options, head)
    except UserError:
        raise
    except expected as error:
        whose, kind = "", ""
        if spec.origin is not None:
            whose, kind = f" of {spec.origin}", f"{type(error).__name__}: "
        raise UserError(
            f"method {recipe.method!r}{whose} can't be put on {recipe.backbone!r}:"
            f" {kind}{' '.join(str(error).split())}"
        ) from error
    return adapted


def check_effect(model: nn.Module, recipe: Recipe, size: tuple[int, int]) -> None:
    """Refuse a method that would train what the model never looks at.

    Args:
        model: the adapted model.
        recipe: what was asked for.
        size: height and width of the model's images.

    Raises:
        UserError: something that is trained has no effect on the output.
    """
    names = without_effect(model, size) if isinstance(model, PeftModel) else []
    if names:
        first = names[0].removeprefix("base_model.model.")
        raise UserError(
            f"method {recipe.method!r} has no effect at {len(names)} places of"
            f" {recipe.backbone!r}, such as {first!r}: the model takes the weight there past the"
            " module, or uses it for nothing. Adapt other modules, or choose another method."
        )
