"""Heads of adapters: each may have its own number of classes, also within one batch."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from peft.utils.other import ModulesToSaveWrapper
from torch import Tensor, nn

from arcvit.arc.call import MixedCall, current_call, padded
from arcvit.arc.config import ArcConfig
from arcvit.core.errors import UserError

_LAST_OF_HEAD = ("", "fc", "out_proj")
"""What the last layer of a head with several is called in timm and in transformers."""


def check_heads(model: nn.Module, config: ArcConfig) -> None:
    """Refuse saved modules that the model hasn't, or that can't be resized as the config asks.

    Raises:
        UserError: a name in ``modules_to_save`` names nothing, or with ``num_classes`` none of them
            is a linear layer.
    """
    modules = dict(model.named_modules())
    named: list[nn.Module] = []
    for name in config.modules_to_save or []:
        found = [module for key, module in modules.items() if f".{key}".endswith(f".{name}")]
        # For a task type PEFT adds the usual names of heads, of which a model has one.
        if not found and config.task_type is None:
            raise UserError(
                f"modules_to_save names {name!r}, which {type(model).__name__} hasn't: expected the"
                " name of a module, such as its head."
            )
        named += found
    if config.num_classes is not None and not any(map(_has_logits, named)):
        raise UserError(
            f"num_classes={config.num_classes} can't be had: modules_to_save names no linear layer,"
            " and only the outputs of a linear layer can be resized."
        )


def prepare_heads(model: nn.Module, adapter_name: str, classes: int | None) -> None:
    """Give an adapter's heads a number of outputs, and let all heads see mixed batches."""
    for wrapper in _wrappers(model).values():
        if classes is not None:
            _resize(wrapper, adapter_name, classes)
        if _mix_logits not in wrapper._forward_hooks.values():
            wrapper.register_forward_hook(_mix_logits)


def fit_heads(model: nn.Module, adapter_name: str, state: Mapping[str, Tensor]) -> None:
    """Give an adapter's heads the sizes they have in a state that is about to be loaded."""
    for wrapper, layer in _linear_in(model, adapter_name):
        if f"{layer}.weight" in state:
            _resize(wrapper, adapter_name, len(state[f"{layer}.weight"]))


def fitted_heads(
    model: nn.Module, adapter_name: str, state: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The heads as ``fit_heads`` would make them, by their names and without memory."""
    fitted: dict[str, Tensor] = {}
    for _, layer in _linear_in(model, adapter_name):
        weight = state.get(f"{layer}.weight")
        if weight is not None and weight.ndim == 2 and len(weight):
            for kind, own in model.get_submodule(layer).named_parameters():
                shape = (len(weight), *own.shape[1:])
                fitted[f"{layer}.{kind}"] = own.new_empty(shape, device="meta")
    return fitted


def tell_classes(model: nn.Module, adapter_name: str) -> None:
    """Make what a model says of its outputs true for an adapter: the number, and no stale names.

    timm's models say ``num_classes``; those of transformers have a config, whose ``num_labels``,
    ``id2label`` and ``label2id`` are used to compute the loss and to name predictions.
    """
    for name, wrapper in _wrappers(model).items():
        path = _path_of_linear(_head_of(wrapper, adapter_name))
        if path is None or not getattr(wrapper, "has_other_classes", False):
            continue
        classes = _head_of(wrapper, adapter_name).get_submodule(path).out_features
        parts = name.split(".")
        for around in (".".join(parts[:depth]) for depth in range(len(parts))):
            owner: Any = model.get_submodule(around)
            for attribute in ("num_classes", "num_labels"):
                if isinstance(getattr(owner, attribute, None), int):
                    setattr(owner, attribute, classes)
            if hasattr(getattr(owner, "config", None), "id2label"):
                owner.config.num_labels = classes


def activate_heads(model: nn.Module, active: Sequence[str]) -> None:
    """Make the heads those of the active adapters, which peft 0.21 forgets after a deletion."""
    for wrapper in _wrappers(model).values():
        held = [name for name in active if name in wrapper.modules_to_save]
        if held and wrapper.active_adapters != held:
            wrapper.set_adapter(held)


def check_mixable(model: nn.Module) -> None:
    """Refuse heads that can't be mixed in a batch.

    Raises:
        ValueError: one isn't linear.
    """
    for wrapper in _wrappers(model).values():
        if not isinstance(wrapper.original_module, nn.Linear):
            raise ValueError(
                "a mixed batch needs linear heads, but"
                f" {type(wrapper.original_module).__name__} is among modules_to_save: run its"
                " adapters one at a time."
            )


def split_logits(logits: Tensor, model: nn.Module, names: Sequence[str]) -> list[Tensor]:
    """The logits of a mixed batch row by row, without padding: a list of (k_i,) tensors.

    Args:
        logits: (B, K), padded with -inf.
        model: the model they came from.
        names: the adapter of each row.
    """
    wrappers = list(_wrappers(model).values())
    if not wrappers:
        return list(logits)
    sizes = [_linear_head(wrappers[-1], name).out_features for name in names]
    return [row[:size] for row, size in zip(logits, sizes, strict=True)]


def row_logits(
    features: Tensor, heads: Sequence[tuple[Tensor, Tensor | None]], call: MixedCall
) -> Tensor:
    """Every row through its own head; logits of smaller heads are padded with -inf.

    Args:
        features: what reaches the head, (B, ..., d).
        heads: weight (k, d) and bias (k,) for each adapter of the call.
        call: the mixed batch.

    Returns:
        (B, ..., K) with the size K of the largest head.
    """
    classes = max(len(weight) for weight, _ in heads)
    weights = [padded(weight, (classes, weight.shape[1])) for weight, _ in heads]
    biases = [
        F.pad(
            weight.new_zeros(len(weight)) if bias is None else bias,
            (0, classes - len(weight)),
            value=float("-inf"),
        )
        for weight, bias in heads
    ]
    flat = features.reshape(len(features), -1, features.shape[-1])
    logits = torch.baddbmm(call.gather(biases).unsqueeze(1), flat, call.gather(weights).mT)
    return logits.reshape(*features.shape[:-1], classes)


def _mix_logits(wrapper: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> Any:
    """A head's hook: in a mixed batch each row's own head gives the output."""
    call = current_call()
    if not isinstance(call, MixedCall):
        return output
    assert isinstance(wrapper, ModulesToSaveWrapper)
    layers = [_linear_head(wrapper, name) for name in call.names]
    parts = [(layer.weight, layer.bias) for layer in layers]
    return row_logits(inputs[0], parts, call).to(output.dtype)


def _head_of(wrapper: ModulesToSaveWrapper, name: str) -> nn.Module:
    saved = wrapper.modules_to_save
    head: nn.Module = saved[name] if name in saved else wrapper.original_module  # noqa: SIM401
    return head


def _linear_head(wrapper: ModulesToSaveWrapper, name: str) -> nn.Linear:
    return cast(nn.Linear, _head_of(wrapper, name))


def _has_logits(module: nn.Module) -> bool:
    return _path_of_linear(getattr(module, "original_module", module)) is not None


def _path_of_linear(head: nn.Module) -> str | None:
    """Where in a head the linear layer is that gives the logits; ``""`` for the head itself."""
    for name, module in head.named_modules():
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in _LAST_OF_HEAD:
            return name
    return None


def _linear_in(model: nn.Module, adapter_name: str) -> Iterator[tuple[ModulesToSaveWrapper, str]]:
    """An adapter's own heads, and in each the name of the linear layer that gives the logits."""
    for name, wrapper in _wrappers(model).items():
        path = _path_of_linear(_head_of(wrapper, adapter_name))
        if path is not None and adapter_name in wrapper.modules_to_save:
            yield wrapper, ".".join(filter(None, (name, "modules_to_save", adapter_name, path)))


def _resize(wrapper: ModulesToSaveWrapper, adapter_name: str, classes: int) -> None:
    """Give an adapter's own head another number of outputs; a new one starts at zero."""
    if adapter_name not in wrapper.modules_to_save:
        return
    head = wrapper.modules_to_save[adapter_name]
    path = _path_of_linear(head)
    if path is None:
        return
    last = head.get_submodule(path)
    if last.out_features == classes:
        return
    resized = nn.Linear(
        last.in_features,
        classes,
        bias=last.bias is not None,
        device=last.weight.device,
        dtype=last.weight.dtype,
    )
    for parameter in resized.parameters():
        nn.init.zeros_(parameter)
    resized.requires_grad_(last.weight.requires_grad)
    if path:
        head.set_submodule(path, resized)
    else:
        wrapper.modules_to_save[adapter_name] = resized
    wrapper.has_other_classes = True


def _wrappers(model: nn.Module) -> dict[str, ModulesToSaveWrapper]:
    modules = model.named_modules()
    return {name: module for name, module in modules if isinstance(module, ModulesToSaveWrapper)}
