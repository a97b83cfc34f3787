"""What to write in an ``ArcConfig`` for a model of no known family.

The model is run once, where it says what images it takes: the linear layers inside a norm's parent
that take exactly the norm's output are those into which an adapter on it can be folded.
"""

import re
from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from arcvit.arc.fold import Consumer
from arcvit.arc.proof import Call, CantRun, Suspect, declared_calls, objections, run_watched
from arcvit.arc.sites import in_features, is_linear
from arcvit.core.errors import UserError

_MOST = 12


def unknown_family(model: nn.Module) -> UserError:
    """The error for a model without known sites: a config to paste, and what there is to name."""
    name = type(model).__name__
    linears = [key for key, module in model.named_modules() if is_linear(module)]
    if not linears:
        return UserError(f"{name} has no linear layers that could be adapted.")
    arguments = suggested(model)
    if arguments is None:
        return UserError(
            f"{name} is not a known family, and it has no linear layers but its head that could be"
            " adapted: choose a vision transformer, or another method."
        )
    norms = _keys(key for key, module in model.named_modules() if _is_norm(module))
    return UserError(
        f"{name} is not a known family: name the sites, for example ArcConfig({arguments}). Its"
        f" norms: {norms[:_MOST] or 'none'}; its linear layers: {_keys(linears)[:_MOST]}."
    )


def suggested(model: nn.Module) -> str | None:
    """Arguments of an ``ArcConfig`` for a model; None where nothing but a head could be adapted."""
    consumers = _seen(model)
    if consumers is None:
        consumers = _guessed(model)
    if consumers:
        return f"consumers={consumers}"
    adaptable = {key: in_features(model.get_submodule(key)) for key in _adaptable(model)}
    widest = max(adaptable.values(), default=0)
    # Layers that are much narrower, or about positions, see no tokens.
    tokens = [k for k, width in adaptable.items() if 8 * width >= widest and "position" not in k]
    targets = _keys(tokens)
    return f"target_modules={targets}" if targets else None


def _seen(model: nn.Module) -> dict[str, list[str]] | None:
    """The consumers of norms, by the ends of their names; None where the model can't be run."""
    for call in declared_calls(model):
        try:
            return _by_end(model, _seen_in(model, call), call)
        except CantRun:
            continue
    return None


def _seen_in(model: nn.Module, call: Call) -> dict[str, list[str]]:
    """The consumers of each norm, relative to its parent."""
    modules = dict(model.named_modules())
    norms = {key: module for key, module in modules.items() if _is_norm(module)}
    layers = {key: modules[key] for key in _adaptable(model)}
    outputs, inputs = run_watched(model, norms, layers, call)
    found: dict[str, list[str]] = {}
    for norm, output in outputs.items():
        parent = norm.rpartition(".")[0]
        inside = f"{parent}." if parent else ""
        taking = [
            key.removeprefix(inside)
            for key in layers
            if key.startswith(inside) and _same(output, inputs.get(key))
        ]
        if taking:
            found[norm] = taking
    return found


def _by_end(
    model: nn.Module, consumers: Mapping[str, list[str]], call: Call
) -> dict[str, list[str]]:
    """The same by the ends of names, where all norms of an end agree and can be folded."""
    modules = dict(model.named_modules())
    suspects = [
        Suspect(
            name=norm,
            module=modules[norm],
            on_input=False,
            consumers={_join(norm, key): modules[_join(norm, key)] for key in layers},
        )
        for norm, layers in consumers.items()
    ]
    against = objections(model, suspects, call)
    found: dict[str, list[str]] = {}
    for end in _keys(consumers):
        named = [key for key in modules if f".{key}".endswith(f".{end}")]
        wanted = consumers[next(key for key in named if key in consumers)]
        if all(consumers.get(key) == wanted and key not in against for key in named):
            found[end] = wanted
    return found


def _guessed(model: nn.Module) -> dict[str, list[str]]:
    """A norm and the linear layer behind it in its parent, for a model that can't be run here."""
    adaptable = _adaptable(model)
    for name, norm in model.named_modules():
        width = getattr(norm, "normalized_shape", (None,))[-1]
        parent = name.rpartition(".")[0]
        inside = f"{parent}." if parent else ""
        behind = [key for key, _ in model.named_modules() if key.startswith(inside)]
        for key in behind[behind.index(name) :] if _is_norm(norm) else ():
            if key in adaptable and in_features(model.get_submodule(key)) == width:
                return {_end(name): [key.removeprefix(inside)]}
    return {}


def _adaptable(model: nn.Module) -> list[str]:
    """The linear layers that are called as such, in order, but the last one, which is the head."""
    linears = [key for key, module in model.named_modules() if is_linear(module)]
    return [
        key
        for key in linears[:-1]
        if not Consumer(
            model.get_submodule(key.rpartition(".")[0]), key.rpartition(".")[2]
        ).is_bypassed
    ]


def _keys(names: Iterable[str]) -> list[str]:
    """Ends of names, each once, in order."""
    return list(dict.fromkeys(map(_end, names)))


def _end(name: str) -> str:
    """A name without its block, which ends in a number, and what is before it."""
    return re.sub(r"^.*[._]\d+\.", "", name)


def _join(norm: str, key: str) -> str:
    parent = norm.rpartition(".")[0]
    return f"{parent}.{key}" if parent else key


def _is_norm(module: nn.Module) -> bool:
    return "Norm" in type(module).__name__


def _same(output: Tensor, taken: Tensor | None) -> bool:
    return taken is not None and output.shape == taken.shape and bool((output == taken).all())
