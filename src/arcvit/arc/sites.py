"""Sites: which modules of a backbone carry an adapter, and which linear layers consume it.

A site is the module whose output the adapter changes (the norm before MHA or FFN, or the last
linear layer in them), or a layer whose input it changes; the linear layers into which the adapter
is folded: those that consume the adapted tensor, or that last layer itself; and the role that says
which sites share a projection.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from arcvit.arc.families import LAST_LAYERS, SiteRule, is_known_code, rules_for
from arcvit.core.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Site:
    """A place for an adapter.

    Attributes:
        name: qualified name of the module that is wrapped.
        on_input: whether the adapter acts on the module's input (a linear layer, its own consumer,
            or a sub-layer) rather than on its output (a norm, the last layer of a sub-layer).
        role: which sites share a projection: ``att``, ``ffn``, or the name of a linear layer.
        width: size d of the adapted tensor's last dimension.
        consumers: qualified names of the linear layers that consume the adapted tensor; of an
            adapter after a linear layer, that layer.
        residual_of: qualified name of the module whose output joins the residual stream after this
            norm, where there is one (Swin's FFN).
        proved: whether the consumers are known to take exactly the adapted tensor, and nothing else
            to take it. Where that isn't known it is found out before folding.
        unfoldable: why the adapter can't be folded into them; None: nothing is known against it.
    """

    name: str
    on_input: bool
    role: str
    width: int
    consumers: tuple[str, ...]
    residual_of: str | None = None
    proved: bool = True
    unfoldable: str | None = None

    @property
    def after(self) -> bool:
        """Whether the adapter changes the output of the layer that it is folded into."""
        return not self.on_input and self.consumers == (self.name,)


def find_sites(model: nn.Module, where: str = "before") -> dict[str, Site]:
    """Sites of the blocks of known families, by name, in the order of the model's modules.

    Args:
        model: the model.
        where: ``before`` MHA and FFN, ``after`` them, or ``both``.
    """
    sites: dict[str, Site] = {}
    for block_name, block in model.named_modules():
        rules = rules_for(block)
        found = [] if where == "after" else [_site_of_rule(model, block_name, r) for r in rules]
        if rules and where != "before":
            found += [_site_after(model, block_name, *last) for last in LAST_LAYERS.items()]
        sites |= {site.name: site for site in found if site is not None}
    return sites


def linear_site(model: nn.Module, name: str) -> Site:
    """The site on the input of a plain linear layer; layers of one name share a projection."""
    layer = model.get_submodule(name)
    if not is_linear(layer):
        raise UserError(
            f"{name!r} ({type(layer).__name__}) can't carry an adapter: expected the norm before"
            " MHA or FFN of a known family, a linear layer, or a norm whose consumers are named, as"
            f" consumers={{{name.rpartition('.')[2]!r}: [LAYERS_THAT_TAKE_ITS_OUTPUT]}}."
        )
    return Site(
        name=name,
        on_input=True,
        role=name.rpartition(".")[2],
        width=in_features(layer),
        consumers=(name,),
    )


def named_site(model: nn.Module, name: str, consumers: Sequence[str]) -> Site:
    """The site on the output of a norm whose consumers the user names, relative to its parent."""
    parent, _, leaf = name.rpartition(".")
    full_names = tuple(f"{parent}.{c}" if parent else c for c in consumers)
    for full_name in full_names:
        if not _has(model, full_name) or not is_linear(model.get_submodule(full_name)):
            raise UserError(
                f"consumer {full_name!r} of {name!r} is not a linear layer of this model: name"
                f" linear layers relative to {parent or 'the model'!r}."
            )
    if not full_names:
        raise UserError(f"consumers[{leaf!r}] is empty: name at least one linear layer.")
    return Site(
        name=name,
        on_input=False,
        role=leaf,
        width=_common_width(model, name, full_names),
        consumers=full_names,
        proved=False,
    )


def is_linear(module: nn.Module) -> bool:
    """Whether a module is a linear layer, adapted by PEFT or not."""
    return isinstance(module, nn.Linear) or isinstance(
        getattr(module, "base_layer", None), nn.Linear
    )


def in_features(layer: nn.Module) -> int:
    """Width of a linear layer's input."""
    return int(getattr(layer, "base_layer", layer).in_features)  # type: ignore[arg-type]


def _site_of_rule(model: nn.Module, block_name: str, rule: SiteRule) -> Site | None:
    prefix = f"{block_name}." if block_name else ""
    name = prefix + rule.module
    if not _has(model, name):
        return None
    for alternative in rule.consumers:
        required = [prefix + consumer for consumer in alternative]
        if all(_is_linear_at(model, consumer) for consumer in required):
            further = [prefix + c for c in rule.also if _is_linear_at(model, prefix + c)]
            consumers = (*required, *further)
            parents = {model.get_submodule(c.rpartition(".")[0]) for c in consumers}
            parents = {getattr(parent, "base_layer", parent) for parent in parents}
            return Site(
                name=name,
                on_input=rule.on_input,
                role=rule.role,
                width=_common_width(model, name, consumers),
                consumers=consumers,
                residual_of=None if rule.residual_of is None else prefix + rule.residual_of,
                proved=is_known_code([model.get_submodule(block_name), *parents])
                or consumers == (name,),
            )
    return None


def _site_after(
    model: nn.Module, block_name: str, role: str, candidates: Sequence[str]
) -> Site | None:
    prefix = f"{block_name}." if block_name else ""
    name = next((prefix + c for c in candidates if _is_linear_at(model, prefix + c)), None)
    if name is None:
        return None
    layer = model.get_submodule(name)
    width = int(getattr(layer, "base_layer", layer).out_features)  # type: ignore[arg-type]
    return Site(name=name, on_input=False, role=role, width=width, consumers=(name,))


def _common_width(model: nn.Module, name: str, consumers: Sequence[str]) -> int:
    widths = {in_features(model.get_submodule(c)) for c in consumers}
    if len(widths) != 1:
        raise UserError(
            f"the consumers of {name!r} take inputs of different widths {sorted(widths)}: expected"
            " linear layers that all consume its output."
        )
    return widths.pop()


def _has(model: nn.Module, name: str) -> bool:
    try:
        model.get_submodule(name)
    except AttributeError:
        return False
    return True


def _is_linear_at(model: nn.Module, name: str) -> bool:
    return _has(model, name) and is_linear(model.get_submodule(name))
