"""ARC: re-composed bottlenecks before MHA and FFN (NeurIPS 2023, arXiv 2310.06234)."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from arcvit.arc.options import ArcOptions
from arcvit.methods.spec import MethodSpec, Part


def build(model: Any, options: ArcOptions, head: str) -> Any:
    """ARC at the sites that are found in the model."""
    from peft import get_peft_model

    from arcvit.arc.register import ArcConfig

    return get_peft_model(model, ArcConfig(**dataclasses.asdict(options), modules_to_save=[head]))


def start(model: Any, options: ArcOptions, batches: Iterable[Any]) -> None:
    """Projections from the activations, where they are asked for."""
    if options.projection_init == "activations":
        from arcvit.arc.activations import initialize_from_activations

        initialize_from_activations(model, batches)


ARC = MethodSpec(
    name="arc",
    summary="bottlenecks of 50 before MHA and FFN",
    options=ArcOptions,
    build=build,
    start=start,
    lr=5e-3,
    parts=(
        Part(name="projection", held_in="arc_projection", rate="projection_lr"),
        Part(name="projection", held_in="arc_up", rate="projection_lr"),
        Part(name="coefficients", held_in="arc_coefficients", rate="coefficients_lr"),
        Part(name="bias", held_in="arc_bias", rate="bias_lr"),
    ),
    saved_as={"peft_type": "ARC"},
    tuner="arcvit.arc.register",
    size="r",
    folds=True,
    shares_parameters=True,
)

ARC_PLUS = dataclasses.replace(
    ARC,
    name="arc_plus",
    summary="bottlenecks of 39 before and after MHA and FFN, D from the activations",
    lr=2e-3,
    rates=(),
    # Adam's steps are of one size: entries of D are near 0.1, coefficients grow to about 1.
    parts=tuple(
        dataclasses.replace(part, multiple=30.0) if part.name == "coefficients" else part
        for part in ARC.parts
    ),
    saved_as={"peft_type": "ARC", "variant": "arc_plus"},
    fixed={"variant": "arc_plus"},
)

ARC_ATT = dataclasses.replace(
    ARC,
    name="arc_att",
    summary="bottlenecks of 50 before MHA",
    saved_as={"peft_type": "ARC", "variant": "arc_att"},
    fixed={"variant": "arc_att"},
)
