"""A fingerprint of a backbone's weights, so that an adapter isn't put on another backbone.

Two parts, ``<structure>-<weights>``: a hash of parameter names and shapes, and one of the values.
Values are compared only in single precision: a backbone that was cast or quantized on purpose is
still the one the adapter was trained on, and only its structure is checked.
"""

import hashlib
import re

import torch
from torch import nn

from arcvit.core.errors import UserError

_WRAPPERS = re.compile(r"(^|\.)(base_layer|original_module|_orig_mod)(?=\.|$)")


def fingerprint(model: nn.Module, *, exclude: list[str] | None = None) -> str:
    """The fingerprint of a backbone, adapted or not.

    Args:
        model: the backbone; adapters in it and folded weights don't count.
        exclude: modules that don't belong to the backbone: the head.

    Returns:
        ``<8 hex digits>-<16 hex digits>``, or ``<8 hex digits>-`` where the values are not in
        single precision or not in memory.
    """
    structure, weights = hashlib.sha256(), hashlib.sha256()
    comparable = True
    for name, parameter in sorted(_backbone_parameters(model, exclude or []).items()):
        structure.update(f"{name}:{tuple(parameter.shape)};".encode())
        comparable &= parameter.dtype == torch.float32 and parameter.device.type != "meta"
        if comparable:
            values = parameter.detach().cpu().contiguous()
            weights.update(values.view(torch.uint8).flatten().numpy().tobytes())
    return f"{structure.hexdigest()[:8]}-{weights.hexdigest()[:16] if comparable else ''}"


def check_fingerprint(model: nn.Module, expected: str | None, *, exclude: list[str] | None) -> None:
    """Refuse a model whose weights aren't those an adapter was trained on.

    Args:
        model: the backbone at hand.
        expected: fingerprint of the backbone it was trained on; None: anything goes.
        exclude: modules that don't belong to the backbone: the head.

    Raises:
        UserError: structure or, where both are known, values differ.
    """
    if expected is None:
        return
    found = fingerprint(model, exclude=exclude)
    if not is_same(found, expected):
        raise UserError(
            f"this adapter was trained on a backbone with fingerprint {expected}, but"
            f" {type(model).__name__} has {found}: load that backbone, or set"
            " backbone_fingerprint=None in the adapter's config to load it all the same."
        )


def is_same(found: str, expected: str) -> bool:
    """Whether two fingerprints are of one backbone: values count where both know them."""
    expected_structure, _, expected_weights = expected.partition("-")
    found_structure, _, found_weights = found.partition("-")
    return found_structure == expected_structure and (
        not expected_weights or not found_weights or found_weights == expected_weights
    )


def _backbone_parameters(model: nn.Module, exclude: list[str]) -> dict[str, nn.Parameter]:
    """Parameters by their names in the plain backbone, the first one under each name."""
    parameters: dict[str, nn.Parameter] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if ".arc_" in f".{name}" or "modules_to_save." in name:
            continue
        plain = _WRAPPERS.sub("", name).removeprefix(".")
        if not any(f".{plain}".rfind(f".{module}.") >= 0 for module in exclude):
            parameters.setdefault(plain, parameter)
    return parameters
