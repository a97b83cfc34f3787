"""What an adapter holds at a site, how that starts, and how it composes into factors.

d  width, r  bottleneck rank

Everything else (layer, fused site, folding, mixed batches, combining) sees ``Factors`` alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from arcvit.arc.functional import Factors
from arcvit.arc.options import ArcOptions

SHARED = ("arc_projection", "arc_up")
"""Parameters that the sites of a group share: one of them holds what all use."""

OWN = ("arc_coefficients", "arc_bias")
"""Parameters of each site."""


@dataclass(frozen=True, kw_only=True)
class AdapterShape:
    """One adapter at one site.

    Attributes:
        r: width of the bottleneck.
        dropout: dropout in the bottleneck.
        bias: whether it has a bias b.
        zero_coefficients: c starts at zero; otherwise Xavier-uniform over (1, r).
        full_core: whether a matrix C, (r, r), takes the place of c.
        separate_up: whether the up-projection is a matrix of its own.
        train_projection: whether the projections are trained.
        random: c and b start at random, far from the identity.
    """

    r: int
    dropout: float
    bias: bool
    zero_coefficients: bool
    full_core: bool = False
    separate_up: bool = False
    train_projection: bool = True
    random: bool = False

    @classmethod
    def of(cls, options: ArcOptions, *, role: str, r: int) -> "AdapterShape":
        """The shape that the options ask for at a site of a role."""
        start, full_core = options.coefficients_init, options.core == "full"
        return cls(
            r=r,
            dropout=options.arc_dropout,
            bias=options.adapter_bias,
            zero_coefficients=start == "zeros"
            or (start == "paper" and (role != "ffn" or full_core)),
            full_core=full_core,
            separate_up=options.up_projection == "separate",
            train_projection=options.train_projection,
            random=not options.init_weights,
        )

    def shared(self, d: int) -> dict[str, Tensor]:
        """What a group shares, as it starts: D Xavier-uniform over (d, r), U over (r, d)."""
        shapes = {"arc_projection": (d, self.r)}
        if self.separate_up:
            shapes["arc_up"] = (self.r, d)
        return {name: nn.init.xavier_uniform_(torch.empty(shape)) for name, shape in shapes.items()}

    def own(self, d: int) -> dict[str, Tensor]:
        """What a site has to itself, as it starts.

        As in the paper c is Xavier-uniform over (1, r) before the FFN, where the adapter isn't the
        identity at first, and zero before MHA and at layers that have neither role; b is zero.
        """
        coefficients = torch.zeros(self.r if self.full_core else 1, self.r)
        if self.random:
            nn.init.normal_(coefficients)
        elif not self.zero_coefficients:
            nn.init.xavier_uniform_(coefficients)
        parameters = {"arc_coefficients": coefficients if self.full_core else coefficients[0]}
        if self.bias:
            parameters["arc_bias"] = torch.randn(d) if self.random else torch.zeros(d)
        return parameters


def compose(parameters: Mapping[str, Tensor]) -> Factors:
    """The factors of an adapter from its parameters at a site, by their names.

    They are the very parameters, but for projections borrowed from an adapter in another precision.
    """
    core = parameters["arc_coefficients"]
    down = parameters["arc_projection"].to(core.dtype)
    up = parameters["arc_up"].to(core.dtype) if "arc_up" in parameters else down.mT
    return Factors(down, core, up, parameters.get("arc_bias"))
