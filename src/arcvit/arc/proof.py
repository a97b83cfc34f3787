"""Whether consumers take exactly what an adapter changes, found out by running the model.

Folding is right only where the adapted tensor reaches its consumers as it is, and nothing else.
Tokens that are padded in between, a norm whose output is the residual stream too: folding would
change what the adapter learned, without a word. Values are compared, not results after rounding, so
this holds in any precision.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

Call = tuple[tuple[Any, ...], dict[str, Any]]
"""Arguments of a call of the model."""


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A place for an adapter, of which it isn't known whether it can be folded.

    Attributes:
        name: its qualified name.
        module: the module whose output is adapted, or whose input is.
        on_input: which of the two.
        consumers: the layers into which it would be folded, by name.
    """

    name: str
    module: nn.Module
    on_input: bool
    consumers: Mapping[str, nn.Module]


class Objection(NamedTuple):
    """Why an adapter can't be folded, and whether its consumers are called at all."""

    reason: str
    called: bool = True


class CantRun(Exception):
    """The model couldn't be run on the input there is."""


_LEAK = Objection("what it changes reaches more than its consumers")


@torch.no_grad()
def objections(model: nn.Module, suspects: Sequence[Suspect], call: Call) -> dict[str, Objection]:
    """What speaks against folding, by the names of the places; the others can be folded.

    Args:
        model: the model, which runs a few times and stays as it is.
        suspects: the places.
        call: arguments to run it on.

    Raises:
        CantRun: the model can't be run on them.
    """
    with evaluating(model):
        try:
            seen, inputs, before = _watch(model, suspects, call)
            found = {s.name: why for s in suspects if (why := _differs(s, seen, inputs))}

            def leaking(among: list[Suspect]) -> list[Suspect]:
                if not among or not _leaks(model, among, inputs, call, before):
                    return []
                kinds = dict.fromkeys(s.name.rpartition(".")[2] for s in among)
                if len(kinds) == 1:
                    return among
                of_kind = ([s for s in among if f".{s.name}".endswith(f".{k}")] for k in kinds)
                return [s for some in of_kind for s in leaking(some)]

            rest = [s for s in suspects if s.name not in found]
            found |= {s.name: _LEAK for s in leaking(rest)}
        except Exception as error:  # whatever a model raises on an input that isn't its own
            raise CantRun(str(error)) from error
    return found


def declared_calls(model: nn.Module) -> list[Call]:
    """Calls on images of the size a model says it takes, and of one that few windows divide.

    Empty where the model doesn't say, or has no weights in memory.
    """
    weight = next((p for p in model.parameters() if p.is_floating_point()), None)
    size = _declared_size(model)
    if weight is None or weight.device.type == "meta" or size is None:
        return []
    channels, height, width = size
    generator = torch.Generator().manual_seed(0)

    def image(more: int) -> Call:
        pixels = torch.randn(1, channels, height + more, width + more, generator=generator)
        return (pixels.to(weight),), {}

    return [image(more) for more in (0, 48, 32)]


@torch.no_grad()
def run_watched(
    model: nn.Module, norms: Mapping[str, nn.Module], layers: Mapping[str, nn.Module], call: Call
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What norms give and what layers take in a call, by their names: all values, sorted.

    Raises:
        CantRun: the model can't be run on its arguments.
    """
    places = [Suspect(name=n, module=m, on_input=False, consumers={}) for n, m in norms.items()]
    places += [Suspect(name=n, module=m, on_input=True, consumers={}) for n, m in layers.items()]
    with evaluating(model):
        try:
            seen, _, _ = _watch(model, places, call)
        except Exception as error:  # whatever a model raises on an input that isn't its own
            raise CantRun(str(error)) from error
    values = {name: _values(tensors) for name, tensors in seen.items() if tensors}
    return {n: values[n] for n in norms if n in values}, {
        n: values[n] for n in layers if n in values
    }


def one_row(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call:
    """A call with the first row of each tensor."""

    def first(value: Any) -> Any:
        return value[:1].detach().clone() if isinstance(value, Tensor) and value.ndim else value

    return tuple(map(first, args)), {key: first(value) for key, value in kwargs.items()}


def _watch(
    model: nn.Module, suspects: Sequence[Suspect], call: Call
) -> tuple[dict[str, list[Tensor]], dict[str, list[Tensor]], list[Tensor]]:
    """What is adapted at each place, what each consumer takes, and the model's output."""
    seen: dict[str, list[Tensor]] = {s.name: [] for s in suspects}
    inputs: dict[str, list[Tensor]] = {name: [] for s in suspects for name in s.consumers}

    def note_input(into: list[Tensor]) -> Callable[..., None]:
        return lambda module, args: into.append(args[0].clone())

    def note_output(into: list[Tensor]) -> Callable[..., None]:
        return lambda module, args, output: into.append(output.clone())

    with ExitStack() as stack:
        for name, consumer in _consumers(suspects).items():
            hook = consumer.register_forward_pre_hook(note_input(inputs[name]))
            stack.callback(hook.remove)
        for s in suspects:
            if s.on_input:
                hook = s.module.register_forward_pre_hook(note_input(seen[s.name]))
            else:
                hook = s.module.register_forward_hook(note_output(seen[s.name]))
            stack.callback(hook.remove)
        return seen, inputs, _leaves(model(*call[0], **call[1]))


def _differs(
    suspect: Suspect, seen: Mapping[str, list[Tensor]], inputs: Mapping[str, list[Tensor]]
) -> Objection | None:
    """Why the consumers of a place don't take what is adapted there."""
    adapted = _values(seen[suspect.name])
    for name in suspect.consumers:
        if not inputs[name]:
            return Objection(f"{name!r} isn't called, so what it takes can't be seen", called=False)
        if not torch.equal(adapted, _values(inputs[name])):
            return Objection(f"{name!r} takes more or other than what it changes (padded tokens?)")
    return None


def _leaks(
    model: nn.Module,
    suspects: Sequence[Suspect],
    inputs: Mapping[str, list[Tensor]],
    call: Call,
    before: list[Tensor],
) -> bool:
    """Whether the model's output depends on what is adapted by another way than its consumers."""
    generator = torch.Generator().manual_seed(1)

    def noisy(value: Tensor) -> Tensor:
        return value + torch.randn(value.shape, generator=generator).to(value)

    def noisy_input(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (noisy(args[0]), *args[1:])

    def noisy_output(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return noisy(output)

    def replay(values: list[Tensor]) -> Callable[..., tuple[Tensor, ...]]:
        turn = iter(values)
        return lambda module, args: (next(turn).clone(), *args[1:])

    with ExitStack() as stack:
        for s in suspects:
            if s.on_input:
                hook = s.module.register_forward_pre_hook(noisy_input)
            else:
                hook = s.module.register_forward_hook(noisy_output)
            stack.callback(hook.remove)
        for name, consumer in _consumers(suspects).items():
            hook = consumer.register_forward_pre_hook(replay(inputs[name]))
            stack.callback(hook.remove)
        changed = _leaves(model(*call[0], **call[1]))
    if not (distance := _distance(before, changed)):
        return False
    # Some devices don't give the same bits twice.
    return distance > 4 * _distance(before, _leaves(model(*call[0], **call[1])))


def _consumers(suspects: Sequence[Suspect]) -> dict[str, nn.Module]:
    return {name: consumer for s in suspects for name, consumer in s.consumers.items()}


def _distance(left: list[Tensor], right: list[Tensor]) -> float:
    pairs = zip(left, right, strict=True)
    return max((float((a.double() - b.double()).abs().max()) for a, b in pairs), default=0.0)


def _values(tensors: Sequence[Tensor]) -> Tensor:
    """All values in order of size: reshaped and permuted tensors have the same."""
    return torch.cat([t.flatten() for t in tensors]).sort().values if tensors else torch.empty(0)


def _leaves(output: Any) -> list[Tensor]:
    """The tensors of a model's output."""
    if isinstance(output, Tensor):
        return [output.cpu()]
    values: Iterable[Any] = ()
    if isinstance(output, Mapping):
        values = output.values()
    elif isinstance(output, (list, tuple)):
        values = output
    return [leaf for value in values for leaf in _leaves(value)]


def _declared_size(model: nn.Module) -> tuple[int, int, int] | None:
    """Channels, height and width of the images that a model of timm or transformers takes."""
    config = getattr(model, "config", None)
    config = getattr(config, "vision_config", config)
    declared = getattr(getattr(model, "patch_embed", None), "img_size", None)
    known = getattr(model, "pretrained_cfg", None) or {}
    channels, *usual = known.get("input_size", (3, None, None))
    own = getattr(model, "image_size", None)  # torchvision's
    for edge in (declared, usual, getattr(config, "image_size", None), own):
        edges = (edge, edge) if isinstance(edge, int) else tuple(edge or ())
        if len(edges) == 2 and all(isinstance(e, int) for e in edges):
            return int(getattr(model, "in_chans", channels) or 3), edges[0], edges[1]
    return None


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within the context nothing of a model is at random or counts what it sees."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
