"""An adapter's saved state, checked before it is loaded: whole and in shape, or an error.

PEFT loads what it finds, be it the backbone's own weights, and only warns of what it doesn't find.
Half an adapter is worse than none: ARC's coefficients mean nothing without the projection they were
trained with, and a head that isn't there guesses.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any, ClassVar

import torch
from peft import PeftConfig, get_peft_model_state_dict
from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import BaseTuner
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor, nn

from arcvit.core.errors import UserError

_WRAPPED = "base_model.model."


class CheckedTuner(BaseTuner):
    """A tuner that loads a state whole or not at all, in plain PEFT too.

    Attributes:
        may_come_alone: attributes of its layers that a state may hold without the others.
    """

    may_come_alone: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def _remap_adapter_state_dict_for_load(
        cls,
        model: nn.Module,
        config: PeftConfig,
        adapter_name: str,
        state_dict: dict[str, Tensor],
    ) -> dict[str, Tensor]:
        usual = super()._remap_adapter_state_dict_for_load
        remapped: dict[str, Tensor] = usual(model, config, adapter_name, state_dict)
        expected = usual(model, config, adapter_name, _saved(model, adapter_name))
        given = remapped
        if not any(key.startswith(_WRAPPED) for key in expected):
            # The adapter was injected into a plain model, and PEFT does the same.
            given = {key.removeprefix(_WRAPPED): value for key, value in remapped.items()}
        expected |= cls._resized(model, adapter_name, given)
        # Nothing beside them, a head included: else it is an adapter that has lost its half.
        parts = [set(key.split(".")) for key in given]
        alone = bool(parts) and all(not part.isdisjoint(cls.may_come_alone) for part in parts)
        check_state(expected, given, adapter_name=adapter_name, partly=alone)
        return remapped

    @classmethod
    def _resized(
        cls, model: nn.Module, adapter_name: str, state: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """What would be made to fit a state, as it would be then."""
        del model, adapter_name, state
        return {}


@contextmanager
def loads_whole(model: Any, adapter_name: str) -> Iterator[None]:
    """Check what is loaded into an adapter of any tuner within the context.

    Raises:
        UserError: it isn't all of the adapter, and that alone.
    """

    def check(module: nn.Module, state: Mapping[str, Tensor], *rest: Any) -> None:
        del module, rest
        config = model.peft_config[adapter_name]
        remap = PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type]._remap_adapter_state_dict_for_load
        expected = remap(model, config, adapter_name, _saved(model, adapter_name))
        check_state(expected, state, adapter_name=adapter_name)

    handle = model.register_load_state_dict_pre_hook(check)
    try:
        yield
    finally:
        handle.remove()


def check_state(
    expected: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    *,
    adapter_name: str | None = None,
    partly: bool = False,
) -> None:
    """Refuse a state that isn't what is expected.

    Args:
        expected: entries of the right names, shapes and kinds.
        given: the state.
        adapter_name: the adapter that it is of; None: it is a whole model's.
        partly: whether entries may be missing.

    Raises:
        UserError: entries are missing, too many, or have another shape or kind, or values that
            aren't finite.
    """
    both = {key: (expected[key], value) for key, value in given.items() if key in expected}
    misshapen = [
        f"{key} {tuple(value.shape)}, expected {tuple(own.shape)}"
        for key, (own, value) in both.items()
        if value.shape != own.shape
    ]
    of_another_kind = [
        f"{key} {value.dtype}, expected {own.dtype}"
        for key, (own, value) in both.items()
        if value.is_floating_point() != own.is_floating_point()
    ]
    faults = {
        "missing": [] if partly else [key for key in expected if key not in given],
        "not of this adapter": [key for key in given if key not in expected],
        "misshapen": misshapen,
        "of another kind": of_another_kind,
        "NaN or infinite": [k for k, (own, value) in both.items() if not _is_finite(value, own)],
    }
    listed = "; ".join(f"{what}: {_listed(keys)}" for what, keys in faults.items() if keys)
    if listed:
        whose = "the model" if adapter_name is None else f"adapter {adapter_name!r}"
        raise UserError(
            f"the weights don't fit {whose}, and none of them were loaded ({listed}): load the file"
            " with the config it was saved with, onto the backbone it was trained on."
        )


def _saved(model: nn.Module, adapter_name: str) -> dict[str, Tensor]:
    """What PEFT saves of an adapter, by the names that it gives them when it loads a file."""
    # Not the whole model's state: with many adapters, to collect it is most of the work. The
    # backbone's biases bear no adapter's name; PEFT saves them where the config asks for it.
    every = chain(
        model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)
    )
    own = {
        name: value.detach()
        for name, value in every
        if (adapter_name in (parts := name.split(".")) or parts[-1] == "bias")
        and _is_saved(model, name)
    }
    state: dict[str, Tensor] = get_peft_model_state_dict(
        model, state_dict=own, adapter_name=adapter_name, save_embedding_layers=False
    )
    for name, module in model.named_modules():
        if isinstance(module, AuxiliaryTrainingWrapper):
            for saved, loaded in module.adapter_state_dict_load_map(adapter_name).items():
                state[f"{name}.{loaded}"] = state.pop(f"{name}.{saved}")
    return state


def _is_saved(model: nn.Module, name: str) -> bool:
    """Whether a parameter or buffer is in the model's state: OFT has buffers that aren't."""
    parent, _, leaf = name.rpartition(".")
    return leaf not in model.get_submodule(parent)._non_persistent_buffers_set


def _is_finite(value: Tensor, own: Tensor) -> bool:
    """Whether all values are finite, also as the model holds them."""
    if value.device.type == "meta" or not own.is_floating_point():
        return True
    return bool(torch.isfinite(value.to(own.dtype)).all())


def _listed(keys: Collection[str], most: int = 4) -> str:
    """Names, the first few of them."""
    names = [key if len(key) <= 200 else f"{key[:200]}..." for key in list(keys)[:most]]
    rest = f" and {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(names) + rest
