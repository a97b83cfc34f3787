"""The authors' fine-tuned checkpoints: which of their model files one is from; its conversion."""

from collections.abc import Mapping

from torch import Tensor

from arcvit.backbones.official_checkpoint import OfficialCheckpoint
from arcvit.backbones.official_swin import convert_swin, is_swin
from arcvit.backbones.official_vit import DIALECTS, convert_vit
from arcvit.core.errors import UserError


def convert_official(
    state: Mapping[str, Tensor], *, heads: int | None = None
) -> OfficialCheckpoint:
    """Map an official state dict to timm's names and an adapter's.

    Args:
        state: of ``Model/ARC_ViT.py``, ``Model/ARC_new.py`` or ``Model/ARC_swin_b.py``.
        heads: attention heads of a ViT, in whose weights they leave no trace; None: one for every
            64 features (80 for ViT-H), as in the original ViT.

    Raises:
        UserError: it is none of these, or keys are missing, unexpected or misshapen; each is named.
    """
    for dialect in DIALECTS:
        if dialect.down("att") in state:
            return convert_vit(state, dialect, heads)
    if is_swin(state):
        if heads is not None:
            raise UserError(f"heads is {heads}: a Swin's weights tell its own; leave it out.")
        return convert_swin(state)
    marks = ", ".join(dialect.down("att") for dialect in DIALECTS)
    raise UserError(
        f"this is not an ARC checkpoint of the authors: expected {marks} (ViT) or layers.0.attn_u"
        f" (Swin) among its {len(state)} keys ({', '.join(sorted(state)[:4])} ...)."
    )
