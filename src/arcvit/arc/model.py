"""The PEFT tuner: finds sites, wraps them, shares the projections of each group."""

import re
from typing import Any

from peft.tuners.tuners_utils import BaseTuner, check_target_module_exists
from peft.utils.other import get_pattern_key
from torch import nn

from arcvit.arc.config import VARIANTS, ArcConfig
from arcvit.arc.fingerprint import check_fingerprint
from arcvit.arc.fold import Consumer
from arcvit.arc.layer import ArcLayer
from arcvit.arc.sites import Site, find_sites, linear_site, named_site, unknown_family


class ArcModel(BaseTuner):  # type: ignore[misc]
    """ARC for any model that PEFT can wrap; made by ``get_peft_model(model, ArcConfig(...))``."""

    prefix = "arc_"
    tuner_layer_cls = ArcLayer
    target_module_mapping: dict[str, list[str]] = {}  # sites are found by the model's structure

    def _prepare_adapter_config(self, peft_config: ArcConfig, model_config: dict) -> ArcConfig:
        del model_config  # sites depend on the model itself: see _prepare_model
        return peft_config

    def _prepare_model(self, peft_config: ArcConfig, model: nn.Module) -> None:
        """Find the sites before PEFT asks for target names, and check what the config demands."""
        check_fingerprint(
            model,
            peft_config.backbone_fingerprint,
            backbone=peft_config.backbone,
            exclude=peft_config.modules_to_save,
        )
        self._sites = find_sites(model)
        self._owners: dict[tuple[str, int, int], ArcLayer] = {}
        if peft_config.target_modules is None:
            roles = VARIANTS[peft_config.variant]
            names = [site.name for site in self._sites.values() if site.role in roles]
            if not names:
                raise unknown_family(model)
            peft_config.target_modules = names

    @staticmethod
    def _check_target_module_exists(peft_config: ArcConfig, key: str) -> Any:
        """As PEFT matches names, and also where the list of blocks is at the top of the model.

        PEFT reads a block's index from ``model.blocks.3.norm1`` but not from ``blocks.3.norm1``,
        and ignores ``layers_to_transform`` for a module named in full.
        """
        found = check_target_module_exists(peft_config, key)
        chosen = peft_config.layers_to_transform
        if found is not True and chosen is not None and peft_config.layers_pattern is None:
            found = check_target_module_exists(peft_config, f"model.{key}")
        if found is True and chosen is not None and not peft_config.layers_pattern:
            index = re.search(r"(?:^|\.)(\d+)\.", key)
            wanted = [chosen] if isinstance(chosen, int) else list(chosen)
            return index is not None and (not wanted or int(index.group(1)) in wanted)
        return found

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
        if isinstance(target, ArcLayer):
            layer = target
        else:
            layer = ArcLayer(
                target,
                name=site.name,
                width=site.width,
                on_input=site.on_input,
                consumers=tuple(self._consumer(name) for name in site.consumers),
            )
            layer._active_adapter = self.active_adapters
        pattern = get_pattern_key(peft_config.rank_pattern.keys(), current_key)
        r = peft_config.rank_pattern.get(pattern, peft_config.r)
        group = (site.role, site.width, r)
        layer.update_layer(
            adapter_name,
            r=r,
            dropout=peft_config.dropout,
            bias=peft_config.bias == "arc",
            zero_coefficients=site.role == "att",
            owner=self._owners.get(group),
            inference_mode=peft_config.inference_mode,
        )
        self._owners.setdefault(group, layer)
        if layer is not target:
            self._replace_module(parent, target_name, layer, target)

    def _site(self, peft_config: ArcConfig, name: str) -> Site:
        consumers = peft_config.consumers or {}
        pattern = next((p for p in consumers if name == p or name.endswith(f".{p}")), None)
        if pattern is not None:
            return named_site(self.model, name, consumers[pattern])
        return self._sites.get(name) or linear_site(self.model, name)

    def _consumer(self, name: str) -> Consumer:
        parent, _, attribute = name.rpartition(".")
        return Consumer(self.model.get_submodule(parent), attribute)

    def _replace_module(
        self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module
    ) -> None:
        """Put a module in another's place. PEFT's own assumes that the wrapped one has a weight."""
        del child
        setattr(parent, child_name, new_module)

    def _mark_only_adapters_as_trainable(self, model: nn.Module) -> None:
        """Freeze all but the adapters. PEFT's own takes ``bias`` for the backbone's biases."""
        adapter_parameters = {
            id(p)
            for layer in model.modules()
            if isinstance(layer, ArcLayer)
            for name in layer.adapter_layer_names
            for p in getattr(layer, name).values()
        }
        saved_parameters = {
            id(p)
            for module in model.modules()
            if hasattr(module, "modules_to_save")
            for p in module.parameters()
        }
        for parameter in model.parameters():
            if id(parameter) not in adapter_parameters | saved_parameters:
                parameter.requires_grad = False

    def _check_new_adapter_config(self, config: ArcConfig) -> None:
        """Any number of adapters may have a bias: it is theirs, not the backbone's."""
        del config

    def disable_adapter_layers(self) -> None:
        """Run the backbone alone."""
        self._enable_adapter_layers(enabled=False)


