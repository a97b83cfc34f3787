"""Put a recipe's method on its backbone."""

from torch import nn

from arcvit.core.errors import UserError
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
