"""What ARC has learned, from the adapter's file alone: coefficients, and the folded update.

D  shared projection (d, r), c  re-scaling coefficients (r,)
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import load_file

from arcvit.recipe.run import ADAPTER_FOLDER


@dataclass(frozen=True, kw_only=True)
class SiteView:
    """One adapter.

    Attributes:
        name: qualified name of its site, as ``blocks.0.norm1``.
        coefficients: its re-scaling coefficients, (r,).
        singular_values: of its update ``D diag(c) D^T``, largest first, (r,).
    """

    name: str
    coefficients: list[float]
    singular_values: list[float]


def read_sites(run: Path) -> list[SiteView]:
    """The adapters of an ARC run in the order of the model; empty where it has none.

    The projection is stored with the first site of its group; a site that holds none uses the last
    one before it that adapts the same norm (its name's last part) at the same width.
    """
    file = run / ADAPTER_FOLDER / SAFETENSORS_WEIGHTS_NAME
    if not file.is_file():
        return []
    state = {key.removeprefix("base_model.model."): t for key, t in load_file(file).items()}
    names = [
        key.removesuffix(".arc_coefficients") for key in state if key.endswith(".arc_coefficients")
    ]
    projections: dict[tuple[str, str], torch.Tensor] = {}
    sites = []
    for name in sorted(names, key=_natural):
        own = state.get(f"{name}.arc_projection")
        group = (name.rpartition(".")[2], _stage(name))
        if own is not None:
            projections[group] = own.float()
        if group not in projections:
            continue
        c, d = state[f"{name}.arc_coefficients"].float(), projections[group]
        # D = Q R, so D diag(c) D^T has the singular values of the small R diag(c) R^T.
        r = torch.linalg.qr(d).R
        values = torch.linalg.svdvals((r * c) @ r.T)
        sites.append(SiteView(name=name, coefficients=c.tolist(), singular_values=values.tolist()))
    return sites


def _stage(name: str) -> str:
    """The stage of a site in a hierarchical model; blocks of other models are in one stage."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] in ("layers", "stages") else ""


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]
