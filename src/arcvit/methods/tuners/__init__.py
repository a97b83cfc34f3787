"""What PEFT doesn't have: VPT, AdaptFormer and SSF as PEFT tuners, known to it once imported.

Everything here needs torch.
"""

from arcvit.methods.tuners import adaptformer, ssf, vpt

__all__ = ["adaptformer", "ssf", "vpt"]
