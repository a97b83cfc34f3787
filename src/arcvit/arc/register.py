"""Make ARC known to PEFT. The only file that touches what PEFT keeps private.

PEFT's ``register_peft_method`` takes only members of its closed ``PeftType`` enum. Its look-ups are
plain dictionaries, though, and a string key works in all of them (peft 0.21).
"""

from peft.mapping import (
    PEFT_TYPE_TO_CONFIG_MAPPING,
    PEFT_TYPE_TO_PREFIX_MAPPING,
    PEFT_TYPE_TO_TUNER_MAPPING,
)

from arcvit.arc.config import PEFT_TYPE, ArcConfig
from arcvit.arc.model import ArcModel


def register() -> None:
    """Enter ARC in PEFT's mappings, so that ``PeftModel.from_pretrained`` knows its adapters."""
    PEFT_TYPE_TO_CONFIG_MAPPING[PEFT_TYPE] = ArcConfig
    PEFT_TYPE_TO_TUNER_MAPPING[PEFT_TYPE] = ArcModel
    PEFT_TYPE_TO_PREFIX_MAPPING[PEFT_TYPE] = ArcModel.prefix
