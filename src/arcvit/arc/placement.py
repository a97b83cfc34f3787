"""Where an adapter acts at a site, and which sites share a projection, as the config asks."""

from arcvit.arc.config import ArcConfig
from arcvit.arc.layer import Placement
from arcvit.arc.sites import Site
from arcvit.core.errors import UserError

_BEFORE_NORM = "it sits before the norm (placement='before_norm'), which is not linear"
_RESIDUAL = "it changes the residual stream (ffn_placement='residual'), not one layer's input"


def placement_of(config: ArcConfig, site: Site) -> tuple[Placement, str | None]:
    """Where the adapter acts, and why it can't be folded there, if it can't.

    Raises:
        UserError: the config asks for a placement that the site doesn't have.
    """
    if config.ffn_placement == "residual" and site.role == "ffn":
        if site.residual_of is None:
            raise UserError(
                f"ffn_placement='residual' is the authors' Swin code, but {site.name!r} is not in a"
                " Swin block: leave it at 'paper'."
            )
        return "residual", _RESIDUAL
    if site.on_input:
        return "input", None
    if config.placement == "before_norm":
        return "input", _BEFORE_NORM
    return "output", None


def sharing_group(config: ArcConfig, site: Site) -> str:
    """The name under which sites of one width and rank share a projection."""
    return {"role": site.role, "all": "all", "none": site.name}[config.share]
