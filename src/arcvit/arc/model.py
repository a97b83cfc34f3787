"""The PEFT tuner: finds sites, wraps them, shares the projections of each group."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTuner
from peft.utils.other import get_pattern_key
from torch import Tensor, nn

from arcvit.arc.batch import check_batch, mixed_batch, split_logits
from arcvit.arc.config import ArcConfig
from arcvit.arc.fingerprint import check_fingerprint
from arcvit.arc.fold import Consumer
from arcvit.arc.heads import activate_heads, fit_heads, resize_heads
from arcvit.arc.layer import AdapterShape, ArcLayer, ArcLinear
from arcvit.arc.matching import match_target
from arcvit.arc.merging import all_or_none, folded_adapters
from arcvit.arc.options import VARIANTS
from arcvit.arc.placement import placement_of, sharing_group
from arcvit.arc.sites import Site, find_sites, linear_site, named_site, unknown_family
from arcvit.arc.state import check_state
from arcvit.arc.trainable import keep_frozen
from arcvit.arc.weighted import check_shared, combined_config, fill_combined
from arcvit.core.errors import UserError


class ArcModel(BaseTuner):
    """ARC for any model that PEFT can wrap; made by ``get_peft_model(model, ArcConfig(...))``."""

    prefix = "arc_"
    tuner_layer_cls = ArcLayer
    target_module_mapping: dict[str, list[str]] = {}  # noqa: RUF012  sites: by structure

    def _prepare_adapter_config(
        self, peft_config: ArcConfig, model_config: dict[str, Any]
    ) -> ArcConfig:
        del model_config  # sites depend on the model itself: see _prepare_model
        return peft_config

    def _prepare_model(self, peft_config: ArcConfig, model: nn.Module) -> None:
        """Find the sites before PEFT asks for target names, and check what the config demands."""
        check_fingerprint(
            model, peft_config.backbone_fingerprint, exclude=peft_config.modules_to_save
        )
        if peft_config.projection is not None and peft_config.projection not in self.peft_config:
            others = [name for name in self.peft_config if self.peft_config[name] != peft_config]
            raise UserError(
                f"projection={peft_config.projection!r} names an adapter that isn't loaded: load it"
                f" first (loaded: {', '.join(others) or 'none'})."
            )
        self._sites = find_sites(model)
        self._holders: dict[tuple[str, int, int], tuple[ArcLayer, str]] = {}
        if peft_config.target_modules is None:
            roles = VARIANTS[peft_config.variant]
            names = [site.name for site in self._sites.values() if site.role in roles]
            if not names:
                raise unknown_family(model)
            peft_config.target_modules = names

    @staticmethod
    def _check_target_module_exists(peft_config: ArcConfig, key: str) -> Any:
        return match_target(peft_config, key)

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
        del parameter_name
        site = self._site(peft_config, current_key)
        layer = target if isinstance(target, ArcLayer) else self._wrap(peft_config, site, target)
        placement, _ = placement_of(peft_config, site)
        if layer.placement != placement:
            raise UserError(
                f"{site.name!r} is adapted at its {layer.placement} already: adapters on one model"
                " must agree on placement and ffn_placement."
            )
        pattern = get_pattern_key(peft_config.rank_pattern.keys(), current_key)
        r = peft_config.rank_pattern.get(pattern, peft_config.r)
        group = (sharing_group(peft_config, site), site.width, r)
        start = peft_config.coefficients_init
        layer.update_layer(
            adapter_name,
            AdapterShape(
                r=r,
                dropout=peft_config.arc_dropout,
                bias=peft_config.adapter_bias,
                zero_coefficients=start == "zeros" or (start == "paper" and site.role == "att"),
                separate_up=peft_config.up_projection == "separate",
            ),
            holder=self._borrowed(peft_config, layer, r) or self._holders.get(group),
            inference_mode=peft_config.inference_mode,
        )
        self._holders.setdefault(group, (layer, adapter_name))
        if adapter_name not in self.active_adapters:
            layer.set_requires_grad(adapter_name, requires_grad=False)
        if layer is not target:
            setattr(parent, target_name, layer)

    def _site(self, peft_config: ArcConfig, name: str) -> Site:
        consumers = peft_config.consumers or {}
        pattern = next((p for p in consumers if name == p or name.endswith(f".{p}")), None)
        if pattern is not None:
            return named_site(self.model, name, consumers[pattern])
        return self._sites.get(name) or linear_site(self.model, name)

    def _wrap(self, peft_config: ArcConfig, site: Site, module: nn.Module) -> ArcLayer:
        placement, unfoldable = placement_of(peft_config, site)
        residual = site.residual_of if placement == "residual" else None
        kind = ArcLinear if isinstance(module, nn.Linear) else ArcLayer
        layer = kind(
            module,
            name=site.name,
            width=site.width,
            placement=placement,
            consumers=tuple(self._consumer(name, site, module) for name in site.consumers),
            unfoldable=unfoldable,
            residual_module=None if residual is None else self.model.get_submodule(residual),
        )
        layer._active_adapter = self.active_adapters
        return layer.train(module.training)

    def _consumer(self, name: str, site: Site, module: nn.Module) -> Consumer:
        parent, _, attribute = name.rpartition(".")
        if name == site.name:
            # The wrapper takes this place: go through it, so that a deep copy stays consistent.
            return Consumer(self.model.get_submodule(parent), attribute)
        if parent == site.name:
            return Consumer(module, attribute)
        return Consumer(self.model.get_submodule(parent), attribute)

    def _borrowed(
        self, peft_config: ArcConfig, layer: ArcLayer, r: int
    ) -> tuple[ArcLayer, str] | None:
        """Where another adapter's projection at this site is held, if it is to be used."""
        lender = peft_config.projection
        if lender is None:
            return None
        if lender not in layer.projection_holder:
            raise UserError(
                f"adapter {lender!r} has no projection at {layer.name!r}: expected"
                " target_modules and variant as that adapter has them."
            )
        if layer.r[lender] != r:
            raise UserError(
                f"r={r} disagrees with the projection of adapter {lender!r} at {layer.name!r},"
                f" which has r={layer.r[lender]}: use the same r."
            )
        return layer.projection_holder[lender]

    def inject_adapter(
        self,
        model: nn.Module,
        adapter_name: str,
        autocast_adapter_dtype: bool = True,
        low_cpu_mem_usage: bool = False,
        state_dict: dict[str, Tensor] | None = None,
    ) -> None:
        """As PEFT does; heads get ``num_classes`` outputs.

        Where a site can't carry the adapter, the model is left as it was.
        """
        earlier = {id(layer) for layer in self._layers()}
        try:
            super().inject_adapter(
                model, adapter_name, autocast_adapter_dtype, low_cpu_mem_usage, state_dict
            )
        except Exception:
            self._withdraw(adapter_name, earlier)
            raise
        classes = self.peft_config[adapter_name].num_classes
        if classes is not None:
            resize_heads(model, adapter_name, classes)

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

    def merge_adapter(
        self, adapter_names: list[str] | None = None, safe_merge: bool = False
    ) -> None:
        """Fold adapters into the backbone, all of their sites or none.

        Args:
            adapter_names: adapters to fold; None: the active ones that aren't folded yet.
            safe_merge: refuse a result that isn't finite.

        Raises:
            ValueError: an adapter isn't known or is folded already, a site can't be folded, or
                ``safe_merge`` and a folded weight isn't finite. The model is as before then.
        """
        folded = folded_adapters(self._layers())
        names = self.active_adapters if adapter_names is None else adapter_names
        again = [name for name in names if name in folded]
        if again and (adapter_names is not None or len(again) == len(names)):
            raise ValueError(
                f"adapter(s) {', '.join(map(repr, again))} are folded in already: call"
                " unmerge_adapter() first to fold them anew."
            )
        self._fold(adapter_names, safe_merge)

    def unmerge_adapter(self) -> None:
        """Take all folded adapters out of the backbone again, exactly.

        Raises:
            ValueError: none is folded in.
        """
        layers = [layer for layer in self._layers() if layer.merged]
        if not layers:
            raise ValueError("no adapter is folded in: there is nothing to unmerge.")
        for layer in layers:
            layer.unmerge()

    def _fold(self, adapter_names: list[str] | None, safe_merge: bool) -> None:
        """Fold what isn't folded yet, all sites or none."""
        if isinstance(adapter_names, str):
            raise TypeError(f"adapter_names should be a list of strings, got {adapter_names!r}.")
        unknown = [name for name in adapter_names or [] if name not in self.peft_config]
        if unknown:
            raise ValueError(
                f"unknown adapter(s) {', '.join(map(repr, unknown))}: expected"
                f" {', '.join(self.peft_config)}."
            )
        with all_or_none(self._layers()):
            super().merge_adapter(adapter_names=adapter_names, safe_merge=safe_merge)

    def _unload_and_optionally_merge(
        self,
        merge: bool = True,
        progressbar: bool = False,
        safe_merge: bool = False,
        adapter_names: list[str] | None = None,
    ) -> nn.Module:
        if merge:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="All adapters are already merged")
                self._fold(adapter_names, safe_merge)
                return super()._unload_and_optionally_merge(
                    merge=True,
                    progressbar=progressbar,
                    safe_merge=safe_merge,
                    adapter_names=adapter_names,
                )
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
        self.peft_config[adapter_name] = config
        try:
            self.inject_adapter(self.model, adapter_name)
            check_shared(layers, adapter_name, adapters)
        except ValueError:
            self._withdraw(adapter_name, {id(layer) for layer in layers})
            del self.peft_config[adapter_name]
            raise
        sites = [layer for layer in layers if adapter_name in layer.arc_coefficients]
        parts = [layer.arc_coefficients[name] for layer in sites for name in adapters]
        self._cast_adapter_dtype(adapter_name, any(c.dtype == torch.float32 for c in parts))
        for layer in sites:
            fill_combined(layer, adapter_name, adapters, weights, combination_type)

    def split_logits(self, logits: Tensor, adapter_names: Sequence[str]) -> list[Tensor]:
        """The logits of a mixed batch row by row, without the padding of smaller heads."""
        return split_logits(logits, self.model, adapter_names)

    @contextmanager
    def _enable_peft_forward_hooks(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        """PEFT's entry for ``model(x, adapter_names=[...])``: one adapter a row."""
        names = kwargs.pop("adapter_names", None)
        if names is None:
            yield
            return
        if self.training:
            raise ValueError("adapter_names mixes a batch at inference: call model.eval() first.")
        if all(layer.disable_adapters for layer in self._layers()):
            yield  # disabled adapters stay so, whatever the names
            return
        check_batch(names, [*args, *kwargs.values()])
        with mixed_batch(self.model, names, list(self.peft_config)):
            yield

    def _withdraw(self, adapter_name: str, earlier: set[int]) -> None:
        """Take a half-injected adapter out again; ``earlier`` are the sites wrapped before it."""
        for name, module in list(self.model.named_modules()):
            if not isinstance(module, ArcLayer):
                continue
            if id(module) in earlier:
                module.forget(adapter_name)
            else:
                parent, _, leaf = name.rpartition(".")
                self._replace_module(
                    self.model.get_submodule(parent), leaf, module.base_layer, module
                )

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
        remapped: dict[str, Tensor] = super()._remap_adapter_state_dict_for_load(
            model, config, adapter_name, state_dict
        )
        check_state(model, adapter_name, remapped)
        fit_heads(model, adapter_name, remapped)
        return remapped
