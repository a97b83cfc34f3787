"""A tuner that finds its modules by the model's structure and wraps them one by one.

Methods from outside arcvit may build on it too.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from arcvit.arc.config_file import check_config
from arcvit.arc.state import CheckedTuner
from arcvit.core.errors import UserError


@dataclass
class MethodConfig(PeftConfig):
    """What the configs of these tuners have in common.

    Attributes:
        modules_to_save: modules trained and saved whole: the head.
        target_modules: written by the tuner, which finds the modules by the model's structure.
    """

    method_type: ClassVar[str]

    modules_to_save: list[str] | None = None
    target_modules: list[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = self.method_type

    @classmethod
    def check_kwargs(cls, **kwargs: Any) -> dict[str, Any]:
        """What stands in a file, if it is of the right kinds."""
        check_config(cls, kwargs)
        return kwargs

    def to_dict(self) -> dict[str, Any]:
        """As a JSON-safe dictionary. Target names are sorted: PEFT shortens them to a set."""
        config: dict[str, Any] = super().to_dict()
        config["peft_type"] = str.__str__(config["peft_type"])
        config["target_modules"] = sorted(config["target_modules"] or [])
        return config


class MethodLayer(nn.Module, BaseTunerLayer):
    """A wrapped module with what its adapters add.

    Args:
        base_layer: the module that is wrapped.
    """

    other_param_names: tuple[str, ...] = ()
    active_adapters: Any

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__()
        self.base_layer = base_layer
        self._disable_adapters = False
        self._active_adapter: str | list[str] = []
        self.merged_adapters: list[str] = []

    def add(self, adapter_name: str, config: Any) -> None:
        """Make an adapter's parameters, initialised as in the method's paper."""
        raise NotImplementedError

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Refuse to fold: most of these methods aren't linear.

        Raises:
            UserError: always; a method that can be folded has its own.
        """
        raise UserError(
            f"{type(self).__name__.removesuffix('Layer')} can't be folded into the backbone: keep"
            " it as an adapter; arc, lora, ssf and the like can be folded."
        )

    def unmerge(self) -> None:
        """Nothing is ever folded."""

    def _on(self, names: nn.ParameterDict | nn.ModuleDict | dict[str, int]) -> list[str]:
        """Those of the active adapters that this module has; none where adapters are disabled."""
        return [] if self.disable_adapters else [n for n in self.active_adapters if n in names]

    def _get_base_layer_device_and_dtype(
        self, base_layer: nn.Module
    ) -> tuple[torch.device | None, torch.dtype | None]:
        """Where new parameters go: a wrapped block has no weight of its own."""
        first = next(base_layer.parameters(), None)
        return (None, None) if first is None else (first.device, first.dtype)


class MethodModel(CheckedTuner):
    """A tuner that wraps the modules that :meth:`wrapped` names."""

    layer_kind: type[MethodLayer]
    target_module_mapping: dict[str, list[str]] = {}  # noqa: RUF012  modules: by structure

    def wrapped(self, config: Any, model: nn.Module) -> list[str]:
        """Qualified names of the modules to wrap.

        Raises:
            UserError: the model can't carry the method.
        """
        raise NotImplementedError

    def make_layer(self, config: Any, model: nn.Module, name: str) -> MethodLayer:
        """The wrapper of a module."""
        del config
        return self.layer_kind(model.get_submodule(name))

    def _prepare_adapter_config(self, peft_config: Any, model_config: dict[str, Any]) -> Any:
        del model_config
        return peft_config

    def _prepare_model(self, peft_config: Any, model: nn.Module) -> None:
        self._names = dict.fromkeys(
            # Behind a wrapper of an earlier adapter lies the module itself.
            name.replace(".base_layer", "")
            for name in self.wrapped(peft_config, model)
        )
        peft_config.target_modules = list(self._names)

    def _check_target_module_exists(self, peft_config: Any, key: str) -> bool:
        """By the whole name: PEFT would take ``norm`` for every ``blocks.0.attn.norm`` too."""
        del peft_config
        return key in self._names

    def _create_and_replace(
        self,
        peft_config: Any,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        del parameter_name
        layer: Any = target
        if not isinstance(target, self.layer_kind):
            layer = self.make_layer(peft_config, self.model, current_key)
            layer._active_adapter = self.active_adapters
            layer.train(target.training)
        layer.add(adapter_name, peft_config)
        layer._move_adapter_to_device_of_base_layer(adapter_name)
        layer.set_adapter(self.active_adapters, inference_mode=peft_config.inference_mode)
        setattr(parent, target_name, layer)

    def _replace_module(
        self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module
    ) -> None:
        """Put a module in another's place. PEFT's own assumes that the wrapped one has a weight."""
        del child
        setattr(parent, child_name, new_module)
