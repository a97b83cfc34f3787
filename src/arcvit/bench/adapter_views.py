"""What ARC has learned, from the adapter's file alone: coefficients, and the folded update.

D  shared projection (d, r), U  its transpose or a projection of its own (r, d), c  re-scaling
coefficients (r,)
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import load_file
from torch import Tensor

from arcvit.core.files import read_json
from arcvit.recipe.run import ADAPTER_FOLDER


@dataclass(frozen=True, kw_only=True)
class SiteView:
    """One adapter.

    Attributes:
        name: qualified name of its site, as ``blocks.0.norm1``.
        coefficients: its re-scaling coefficients, (r,).
        singular_values: of its update ``D diag(c) U``, largest first, (r,).
    """

    name: str
    coefficients: list[float]
    singular_values: list[float]


def read_sites(run: Path) -> list[SiteView]:
    """The adapters of an ARC run in the order of the model; empty where it has none.

    A projection is stored with the first site of its group; a site that holds none uses the last
    one before it of its stage and, unless all share one, of the same norm (its name's last part).
    """
    file = run / ADAPTER_FOLDER / SAFETENSORS_WEIGHTS_NAME
    if not file.is_file():
        return []
    state = {key.removeprefix("base_model.model."): t for key, t in load_file(file).items()}
    names = [
        key.removesuffix(".arc_coefficients") for key in state if key.endswith(".arc_coefficients")
    ]
    by_role = read_json(file.with_name(CONFIG_NAME)).get("share") != "all"
    shared: dict[tuple[str, str], tuple[Tensor, Tensor]] = {}
    sites = []
    for name in sorted(names, key=_natural):
        group = (_stage(name), name.rpartition(".")[2] if by_role else "")
        down = state.get(f"{name}.arc_projection")
        if down is not None:
            shared[group] = down, state.get(f"{name}.arc_up", down.T)
        if group not in shared:
            continue
        # D = Q R and U' = Q' R', so D diag(c) U has the singular values of R diag(c) R'^T.
        c = state[f"{name}.arc_coefficients"].float()
        left, right = (torch.linalg.qr(m.float()).R for m in (shared[group][0], shared[group][1].T))
        values = torch.linalg.svdvals((left * c) @ right.T)
        sites.append(SiteView(name=name, coefficients=c.tolist(), singular_values=values.tolist()))
    return sites


def _stage(name: str) -> str:
    """The stage of a site in a hierarchical model; blocks of other models are in one stage."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] in ("layers", "stages") else ""


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]
