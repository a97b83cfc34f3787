"""ARC: re-composed bottlenecks before MHA and FFN (NeurIPS 2023, arXiv 2310.06234)."""

import dataclasses
from typing import Any

from arcvit.arc.options import ArcOptions
from arcvit.methods.spec import MethodSpec, Part


def build(model: Any, options: ArcOptions, head: str) -> Any:
    """ARC at the sites that are found in the model."""
    from peft import get_peft_model

    from arcvit.arc.register import ArcConfig

    return get_peft_model(model, ArcConfig(**dataclasses.asdict(options), modules_to_save=[head]))


ARC = MethodSpec(
    name="arc",
    summary="bottlenecks of 50 before MHA and FFN",
    options=ArcOptions,
    build=build,
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

ARC_ATT = dataclasses.replace(
    ARC,
    name="arc_att",
    summary="bottlenecks of 50 before MHA",
    saved_as={"peft_type": "ARC", "variant": "arc_att"},
    fixed={"variant": "arc_att"},
)
