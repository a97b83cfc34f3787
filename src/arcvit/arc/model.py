"""The PEFT tuner: what PEFT asks of one, and nothing more."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from arcvit.arc.call import MixedCall, carried, check_batch
from arcvit.arc.combine import check_sharing, combine, combined_config
from arcvit.arc.compiled import without_compiled_wrappers
from arcvit.arc.config import ArcConfig
from arcvit.arc.fingerprint import check_fingerprint
from arcvit.arc.fold import fold_all
from arcvit.arc.heads import (
    activate_heads,
    check_heads,
    check_mixable,
    fit_heads,
    fitted_heads,
    prepare_heads,
    split_logits,
    tell_classes,
)
from arcvit.arc.layer import ArcLayer, keep_frozen
from arcvit.arc.plan import Group, plan_adapter, plan_site, wrap
from arcvit.arc.proof import Call, CantRun, Suspect, declared_calls, objections, one_row
from arcvit.arc.sites import find_sites
from arcvit.arc.state import CheckedTuner
from arcvit.arc.towers import inputs_of
from arcvit.core.errors import UserError


class ArcModel(CheckedTuner):
    """ARC for any model that PEFT can wrap; made by ``get_peft_model(model, ArcConfig(...))``."""

    prefix = "arc_"
    # They start an adapter from the projections of another.
    may_come_alone = ("arc_projection", "arc_up")
    tuner_layer_cls = ArcLayer
    target_module_mapping: dict[str, list[str]] = {}  # noqa: RUF012  sites: by structure
    _example: Call | None = None

    def __init__(self, model: nn.Module, *args: Any, **kwargs: Any) -> None:
        super().__init__(without_compiled_wrappers(model), *args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """As PEFT does, which goes past a model that is compiled in place."""
        model = self.model
        return (model if model._compiled_call_impl else model.forward)(*args, **kwargs)

    def _prepare_adapter_config(
        self, peft_config: ArcConfig, model_config: dict[str, Any]
    ) -> ArcConfig:
        del model_config  # sites depend on the model itself: see _prepare_model
        return peft_config

    def _prepare_model(self, peft_config: ArcConfig, model: nn.Module) -> None:
        """Check all that the config demands, and expand its targets to full names.

        Injecting can't fail after it, so that nothing has to be taken back.
        """
        check_fingerprint(
            model, peft_config.backbone_fingerprint, exclude=peft_config.modules_to_save
        )
        check_heads(model, peft_config)
        lender = peft_config.projection
        if lender is not None and lender not in self.peft_config:
            others = [name for name, other in self.peft_config.items() if other is not peft_config]
            raise UserError(
                f"projection={lender!r} names an adapter that isn't loaded: load it first (loaded:"
                f" {', '.join(others) or 'none'})."
            )
        self._holders: dict[Group, tuple[ArcLayer, str]] = {}
        self._plan = plan_adapter(peft_config, model)
        # PEFT passes over what is inside a site: the last layer of an MHA whose input is adapted.
        sites = tuple(f"{m.name}." for m in model.modules() if isinstance(m, ArcLayer))
        self._passed_over = any(name.startswith(sites) for name in self._plan)
        if self._plan:
            peft_config.target_modules = list(self._plan)
            peft_config.layers_to_transform = peft_config.layers_pattern = None

    def _create_and_replace(
        self,
        peft_config: ArcConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        del target, target_name, parent, parameter_name
        # All at once then, in the order that says which site holds what a group shares.
        for name in self._plan if self._passed_over else [current_key]:
            self._adapt(peft_config, adapter_name, name)

    def _adapt(self, peft_config: ArcConfig, adapter_name: str, name: str) -> None:
        """Put an adapter at a site."""
        planned = self._plan.get(name)
        if planned is None:  # PEFT took its targets from a state dict
            sites = find_sites(self.model, peft_config.sites)
            planned = plan_site(peft_config, self.model, sites, inputs_of(self.model), name)
        parent, _, attribute = name.rpartition(".")
        holder = self.model.get_submodule(parent)
        holder = holder.base_layer if isinstance(holder, ArcLayer) else holder
        layer = getattr(holder, attribute)
        if not isinstance(layer, ArcLayer):
            layer = wrap(planned, self.model, layer, self.active_adapters)
            setattr(holder, attribute, layer)
        if layer.has(adapter_name):
            return
        layer.update_layer(
            adapter_name,
            planned.shape,
            holder=planned.lender or self._holders.get(planned.group),
            inference_mode=peft_config.inference_mode,
        )
        self._holders.setdefault(planned.group, (layer, adapter_name))

    def inject_adapter(
        self,
        model: nn.Module,
        adapter_name: str,
        autocast_adapter_dtype: bool = True,
        low_cpu_mem_usage: bool = False,
        state_dict: dict[str, Tensor] | None = None,
    ) -> None:
        """As PEFT does; heads get ``num_classes`` outputs."""
        options = (autocast_adapter_dtype, low_cpu_mem_usage, state_dict)
        super().inject_adapter(model, adapter_name, *options)
        prepare_heads(model, adapter_name, self.peft_config[adapter_name].num_classes)
        self._tell_classes()

    def set_adapter(self, adapter_name: str | list[str], inference_mode: bool = False) -> None:
        """As PEFT does; the model says how many classes it tells apart now."""
        super().set_adapter(adapter_name, inference_mode)
        self._tell_classes()

    def _tell_classes(self) -> None:
        for name in self.active_adapters:
            tell_classes(self.model, name)

    def _replace_module(
        self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module
    ) -> None:
        """Put a module in another's place. PEFT's own assumes that the wrapped one has a weight."""
        setattr(parent, child_name, new_module)
        if isinstance(child, ArcLayer):
            child.release()

    def _cast_adapter_dtype(self, adapter_name: str, autocast_adapter_dtype: bool = True) -> None:
        with keep_frozen(self._layers(), adapter_name):
            super()._cast_adapter_dtype(adapter_name, autocast_adapter_dtype)

    def delete_adapter(self, adapter_name: str) -> None:
        """Delete an adapter with its projections.

        Raises:
            ValueError: it isn't there, is folded in, or another adapter uses its projections.
        """
        borrowers = {
            name
            for layer in self._layers()
            for name, (_, held_for) in layer.projection_holder.items()
            if held_for == adapter_name and name != adapter_name
        }
        if borrowers:
            raise ValueError(
                f"adapter {adapter_name!r} holds the projections of"
                f" {', '.join(map(repr, sorted(borrowers)))}: delete those first."
            )
        was_active = adapter_name in self.active_adapters
        super().delete_adapter(adapter_name)
        if was_active:
            activate_heads(self.model, self.active_adapters)
            self._tell_classes()

    def merge_adapter(
        self, adapter_names: list[str] | None = None, safe_merge: bool = False
    ) -> None:
        """Fold adapters into the backbone as PEFT does, but all of their sites or none.

        Raises:
            ValueError: an adapter isn't known, a site can't be folded, or ``safe_merge`` and a
                folded weight isn't finite. The model is as before then.
        """
        if isinstance(adapter_names, str):
            raise TypeError(f"adapter_names should be a list of strings, got {adapter_names!r}.")
        unknown = [name for name in adapter_names or [] if name not in self.peft_config]
        if unknown:
            raise ValueError(
                f"unknown adapter(s) {', '.join(map(repr, unknown))}: expected"
                f" {', '.join(self.peft_config)}."
            )
        self.check_foldable()
        fold_all(self._layers(), adapter_names, safe_merge)

    def check_foldable(self) -> None:
        """Raise a ValueError that says why where a site can't be folded.

        Sites of which it isn't known are proved by running the model: on the input of the call
        before, and on images of the size that it says it takes.
        """
        layers = self._layers()
        unproved = [layer for layer in layers if not layer.proved and layer.unfoldable is None]
        if unproved:
            self._prove(unproved)
        for layer in layers:
            layer.check_foldable()

    def _prove(self, layers: list[ArcLayer]) -> None:
        suspects = [
            Suspect(
                name=layer.name,
                module=layer if layer.placement == "output" else layer.base_layer,
                on_input=layer.placement != "output",
                consumers={
                    f"{layer.name}: {c.attribute}": getattr(c.parent, c.attribute)
                    for c in layer.consumers
                },
            )
            for layer in layers
        ]
        calls = declared_calls(self.model)
        ran = False
        for call in [self._example, *calls] if self._example else calls:
            try:
                found = objections(self.model, suspects, call)
            except CantRun:
                continue
            ran = True
            for layer in layers:
                if layer.unfoldable is None and layer.name in found:
                    layer.unfoldable = found[layer.name].reason
        if not ran:
            raise ValueError(
                f"the adapter at {layers[0].name!r} can't be folded yet: whether only its consumers"
                " take what it changes shows when the model runs; run it once on an input of yours."
            )
        for layer in layers:
            layer.proved = layer.unfoldable is None

    def unmerge_adapter(self) -> None:
        """As PEFT does, without a word of the sites that the folded adapters aren't at."""
        layers = self._layers()
        for layer in [layer for layer in layers if layer.merged] or layers:
            layer.unmerge()

    def _unload_and_optionally_merge(
        self,
        merge: bool = True,
        progressbar: bool = False,
        safe_merge: bool = False,
        adapter_names: list[str] | None = None,
    ) -> nn.Module:
        """As PEFT does, but all sites are folded before the first is unloaded."""
        if merge:
            self.merge_adapter(adapter_names, safe_merge)
        for name, layer in reversed(list(self.model.named_modules())):
            parent, _, attribute = name.rpartition(".")
            if isinstance(layer, ArcLayer) and ".base_layer." in name:  # PEFT passes over it
                holder = self.model.get_submodule(parent)
                self._replace_module(holder, attribute, layer.base_layer, layer)
        return super()._unload_and_optionally_merge(merge=False, progressbar=progressbar)

    def dequantize_consumers(self) -> None:
        """Replace the quantized weights that adapters are folded into by floating-point ones."""
        for layer in self._layers():
            for consumer in layer.consumers:
                consumer.dequantize()

    def add_weighted_adapter(
        self,
        adapters: list[str],
        weights: list[float],
        adapter_name: str,
        combination_type: str = "cat",
    ) -> None:
        """Add an adapter whose update is the weighted sum of others' updates.

        Args:
            adapters: names of the adapters to combine.
            weights: a weight for each.
            adapter_name: name of the new adapter; it isn't activated.
            combination_type: ``cat`` (side by side, rank sum r_i) or ``linear`` (coefficients and
                biases added; the adapters must share one projection).

        Raises:
            ValueError: an adapter isn't known, or they can't be combined in this way.
        """
        if adapter_name in self.peft_config:
            return
        layers = self._layers()
        config = combined_config(self.peft_config, layers, adapters, weights, combination_type)
        check_sharing(plan_adapter(config, self.model), layers, adapters)
        self.peft_config[adapter_name] = config
        self.inject_adapter(self.model, adapter_name)
        parts = [layer.arc_coefficients[n] for layer in layers for n in adapters if layer.has(n)]
        self._cast_adapter_dtype(adapter_name, any(c.dtype == torch.float32 for c in parts))
        combine(layers, adapter_name, adapters, weights, combination_type)

    def split_logits(self, logits: Tensor, adapter_names: Sequence[str]) -> list[Tensor]:
        """The logits of a mixed batch row by row, without the padding of smaller heads."""
        return split_logits(logits, self.model, adapter_names)

    @contextmanager
    def _enable_peft_forward_hooks(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        """PEFT's entry for ``model(x, adapter_names=[...])``: one adapter a row."""
        names = kwargs.pop("adapter_names", None)
        layers = self._layers()
        tracing = torch.jit.is_tracing()  # type: ignore[attr-defined]
        told = self._example or tracing or torch.compiler.is_compiling()
        if not told and not all(layer.proved for layer in layers):
            self._example = one_row(args, kwargs)
        # Disabled adapters stay so, whatever the names.
        if names is None or all(layer.disable_adapters for layer in layers):
            yield
            return
        if self.training:
            raise ValueError("adapter_names mixes a batch at inference: call model.eval() first.")
        if any(layer.merged for layer in layers):
            raise ValueError("adapters are folded into the weights: unmerge them to mix a batch.")
        check_batch(names, [*args, *kwargs.values()])
        check_mixable(self.model)
        with carried(MixedCall(names, list(self.peft_config))):
            yield

    def _layers(self) -> list[ArcLayer]:
        return [module for module in self.model.modules() if isinstance(module, ArcLayer)]

    @classmethod
    def _remap_adapter_state_dict_for_load(
        cls,
        model: nn.Module,
        config: ArcConfig,
        adapter_name: str,
        state_dict: dict[str, Tensor],
    ) -> dict[str, Tensor]:
        """As PEFT does, if all is there; a head of another size is made to fit the file."""
        usual = super()._remap_adapter_state_dict_for_load
        remapped = usual(model, config, adapter_name, state_dict)
        fit_heads(model, adapter_name, remapped)
        tuner = getattr(model, "base_model", None)
        if isinstance(tuner, cls):
            tuner._tell_classes()
        return remapped

    @classmethod
    def _resized(
        cls, model: nn.Module, adapter_name: str, state: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Heads get the sizes that they have in the file."""
        return fitted_heads(model, adapter_name, state)
