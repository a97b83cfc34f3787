"""The table of methods: ours, those that installed packages bring, and ``--plugin``. No torch.

A method from outside comes in through an installed package (entry points of the group
``arcvit.methods``) or through the command line (``--plugin package.module:SPEC``), never through a
recipe or an adapter: a file from a stranger must not run code.
"""

import dataclasses
import functools
import importlib
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from arcvit.core.errors import UserError, nearest
from arcvit.methods import (
    adaptformer,
    arc,
    bitfit,
    full,
    linear,
    lnorm,
    lora,
    peft_file,
    ssf,
    vera,
    vpt,
)
from arcvit.methods.spec import MethodSpec

ENTRY_POINTS = "arcvit.methods"

_OURS = (
    linear.SPEC,
    bitfit.SPEC,
    lnorm.SPEC,
    lora.SPEC,
    vera.SPEC,
    vpt.SPEC,
    adaptformer.SPEC,
    ssf.SPEC,
    arc.ARC_ATT,
    arc.ARC,
    arc.ARC_PLUS,
    full.SPEC,
    peft_file.SPEC,
)
_RESERVED = {"data", "optim", "engine", "method", "plugin", "extends", "config", "out"}
_PLUGGED: dict[str, MethodSpec] = {}


def methods() -> dict[str, MethodSpec]:
    """Every method by its name: ours in the order of the tables, then those from outside."""
    return {spec.name: spec for spec in _OURS} | _installed()[0] | _PLUGGED


def method_named(name: str, *, key: str = "method") -> MethodSpec:
    """The method of a name.

    Args:
        name: its name.
        key: where the name was given, for the sentence.

    Raises:
        UserError: there is none, or its package can't be loaded.
    """
    known, broken = methods(), _installed()[1]
    if name in known:
        return known[name]
    if name in broken:
        raise UserError(broken[name])
    raise UserError(
        f"{key} is {name!r}: expected one of {', '.join(known)}.{nearest(str(name), known)}"
        " A method from outside needs --plugin package.module:SPEC."
    )


def named_for(spec: MethodSpec, values: Mapping[str, Any]) -> MethodSpec:
    """The method whose name stands for these settings: ``arc`` with ``variant: arc_att``."""
    for other in methods().values():
        if other.section == spec.section and other.fixed and other.fixed.items() <= values.items():
            return other
    return spec


def plug_in(target: str) -> MethodSpec:
    """Take in the method of ``--plugin package.module:SPEC``.

    Raises:
        UserError: it can't be loaded, or isn't a method.
    """
    module, _, attribute = target.partition(":")
    if not module or not attribute:
        raise UserError(f"--plugin is {target!r}: expected package.module:SPEC.")
    origin = f"--plugin {target}"
    spec = _loaded(EntryPoint(name=attribute, value=target, group=ENTRY_POINTS), origin)
    _PLUGGED[spec.name] = spec
    return spec


def register_tuners() -> None:
    """Make every method's tuner known to PEFT, so that it loads their adapters."""
    for module in dict.fromkeys(spec.tuner for spec in methods().values() if spec.tuner):
        importlib.import_module(module)


def written_by(config: dict[str, Any]) -> MethodSpec | None:
    """The method that an ``adapter_config.json`` is of; None where none is known."""
    fitting = [
        spec
        for spec in methods().values()
        if spec.saved_as and all(config.get(key) == value for key, value in spec.saved_as.items())
    ]
    return max(fitting, key=lambda spec: len(spec.saved_as), default=None)


@functools.cache
def _installed() -> tuple[dict[str, MethodSpec], dict[str, str]]:
    """Methods of installed packages, and why others couldn't be loaded, by name.

    A package that is broken stands in the way of its own methods alone.
    """
    found: dict[str, MethodSpec] = {}
    broken: dict[str, str] = {}
    for entry in _entry_points():
        package = entry.dist.name if entry.dist else entry.module
        try:
            spec = _loaded(entry, f"package {package}")
            found[spec.name] = spec
        except UserError as error:
            broken[entry.name] = str(error)
    return found, broken


def _entry_points() -> Iterable[EntryPoint]:
    return sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name)


def _loaded(entry: EntryPoint, origin: str) -> MethodSpec:
    try:
        spec = entry.load()
    except Exception as error:  # a stranger's module can raise whatever it likes
        raise UserError(
            f"method {entry.name!r} of {origin} can't be loaded: {type(error).__name__}:"
            f" {' '.join(str(error).split())}."
        ) from error
    if not isinstance(spec, MethodSpec):
        raise UserError(
            f"method {entry.name!r} of {origin} is {type(spec).__name__}: expected a MethodSpec"
            " (arcvit.methods.spec)."
        )
    ours = {own.name for own in _OURS} | {own.section for own in _OURS} | _RESERVED
    if not re.fullmatch(r"\w+", spec.name) or spec.name in ours or spec.section in ours:
        raise UserError(
            f"method {spec.name!r} of {origin} has a name that is taken: expected another word."
        )
    if not dataclasses.is_dataclass(spec.options):
        raise UserError(f"method {spec.name!r} of {origin} has options that are no dataclass.")
    return dataclasses.replace(spec, origin=origin)
