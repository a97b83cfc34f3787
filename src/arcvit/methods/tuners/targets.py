"""Layers that a user names for an adapter: whether the model has them and they can carry one."""

from torch import nn

from arcvit.core.errors import UserError, nearest


def check_targets(model: nn.Module, key: str, targets: list[str]) -> None:
    """Refuse names that no layer ends in: PEFT takes a list if one of them fits.

    Raises:
        UserError: names the key, the name, and the layers there are.
    """
    if not targets:
        raise UserError(f"{key} is empty: expected names of linear layers, as [qkv].")
    modules = dict(model.named_modules())
    linear = [name for name, module in modules.items() if isinstance(module, nn.Linear)]
    leaves = list(dict.fromkeys(name.rpartition(".")[2] for name in linear))
    for target in targets:
        named = [name for name in modules if f".{name}".endswith(f".{target}")]
        if not named:
            raise UserError(
                f"{key} names {target!r}, which this backbone hasn't: expected linear layers,"
                f" as {', '.join(leaves)}.{nearest(target, leaves)}"
            )
        wrong = [name for name in named if not isinstance(modules[name], nn.Linear | nn.Conv2d)]
        if wrong:
            kind = type(modules[wrong[0]]).__name__
            raise UserError(
                f"{key} names {target!r}, but {wrong[0]!r} ({kind}) can't carry an adapter:"
                f" expected linear layers, as {', '.join(leaves)}."
            )
