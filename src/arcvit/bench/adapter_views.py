"""What ARC has learned, from the adapter's file alone: coefficients, and the folded update.

D  shared projection (d, r), U  its transpose or a projection of its own (r, d), C  re-scaling
coefficients (r,) or a full core (r, r)
"""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import load_file
from torch import Tensor

from arcvit.arc.families import FAMILIES, LAST_LAYERS
from arcvit.core.files import read_json
from arcvit.recipe.run import ADAPTER_FOLDER


@dataclass(frozen=True, kw_only=True)
class SiteView:
    """One adapter.

    Attributes:
        name: qualified name of its site, as ``blocks.0.norm1``.
        coefficients: its re-scaling coefficients, (r,); of a full core the diagonal.
        singular_values: of its update ``D C U``, largest first, (r,).
    """

    name: str
    coefficients: list[float]
    singular_values: list[float]


def read_sites(run: Path) -> list[SiteView]:
    """The adapters of an ARC run in the order of the model; empty where it has none.

    A projection is stored with the first site of its group; a site that holds none uses the last
    one before it of its stage and, unless all share one, of its role.
    """
    file = run / ADAPTER_FOLDER / SAFETENSORS_WEIGHTS_NAME
    if not file.is_file():
        return []
    state = {
        key.removeprefix("base_model.model.").replace(".base_layer.", "."): t
        for key, t in load_file(file).items()
    }
    names = [
        key.removesuffix(".arc_coefficients") for key in state if key.endswith(".arc_coefficients")
    ]
    by_role = read_json(file.with_name(CONFIG_NAME)).get("share") != "all"
    shared: dict[tuple[str, str], tuple[Tensor, Tensor]] = {}
    sites = []
    for name in sorted(names, key=_in_order):
        group = (_stage(name), _role(name) if by_role else "")
        down = state.get(f"{name}.arc_projection")
        if down is not None:
            shared[group] = down, state.get(f"{name}.arc_up", down.T)
        if group not in shared:
            continue
        # D = Q R and U' = Q' R', so D C U has the singular values of R C R'^T.
        core = state[f"{name}.arc_coefficients"].float()
        left, right = (torch.linalg.qr(m.float()).R for m in (shared[group][0], shared[group][1].T))
        full = core.ndim == 2
        values = torch.linalg.svdvals((left @ core if full else left * core) @ right.T)
        shown = core.diagonal() if full else core
        sites.append(
            SiteView(name=name, coefficients=shown.tolist(), singular_values=values.tolist())
        )
    return sites


_ROLES = {rule.module: rule.role for rules in FAMILIES.values() for rule in rules} | {
    last: role for role, layers in LAST_LAYERS.items() for last in layers
}


def _role(name: str) -> str:
    """Where a site is, or the last part of its name where its family isn't known."""
    leaf = name.rpartition(".")[2]
    return next((role for end, role in _ROLES.items() if name.endswith(f".{end}")), leaf)


def _in_order(name: str) -> tuple[list[tuple[int, str]], bool, str]:
    """Blocks in order, and in a block the sites that hold a projection before those after them."""
    block, _, rest = re.fullmatch(r"(.*\.\d+(\.|$)|)(.*)", name).groups()  # type: ignore[union-attr]
    after = any(rest.endswith(last) for layers in LAST_LAYERS.values() for last in layers)
    return _natural(block), after, rest


def _stage(name: str) -> str:
    """The stage of a site in a hierarchical model; blocks of other models are in one stage."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] in ("layers", "stages") else ""


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]
