"""Make the baselines known to PEFT, beside ARC: importing this file does."""

from arcvit.arc.register import register_tuner
from arcvit.baselines.adaptformer import ADAPTFORMER_TYPE, AdaptFormerConfig, AdaptFormerModel
from arcvit.baselines.ssf import SSF_TYPE, SsfConfig, SsfModel
from arcvit.baselines.vpt import VPT_TYPE, VptConfig, VptModel

register_tuner(VPT_TYPE, VptConfig, VptModel)
register_tuner(ADAPTFORMER_TYPE, AdaptFormerConfig, AdaptFormerModel)
register_tuner(SSF_TYPE, SsfConfig, SsfModel)
