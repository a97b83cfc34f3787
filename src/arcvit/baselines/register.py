"""Make the baselines known to PEFT, beside ARC."""

from arcvit.arc.register import register_tuner
from arcvit.baselines.adaptformer import ADAPTFORMER_TYPE, AdaptFormerConfig, AdaptFormerModel
from arcvit.baselines.ssf import SSF_TYPE, SsfConfig, SsfModel
from arcvit.baselines.vpt import VPT_TYPE, VptConfig, VptModel


def register_baselines() -> None:
    """Enter VPT, AdaptFormer and SSF in PEFT's mappings."""
    register_tuner(VPT_TYPE, VptConfig, VptModel)
    register_tuner(ADAPTFORMER_TYPE, AdaptFormerConfig, AdaptFormerModel)
    register_tuner(SSF_TYPE, SsfConfig, SsfModel)
