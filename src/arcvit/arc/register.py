"""Make ARC known to PEFT: importing this file does. The only one that touches PEFT's private parts.

PEFT's ``register_peft_method`` takes only members of its closed ``PeftType`` enum. Its look-ups are
plain dictionaries, though, and a string key works in all of them (peft 0.21).
"""

from peft import PeftConfig
from peft.mapping import (
    PEFT_TYPE_TO_CONFIG_MAPPING,
    PEFT_TYPE_TO_PREFIX_MAPPING,
    PEFT_TYPE_TO_TUNER_MAPPING,
)
from peft.tuners.tuners_utils import BaseTuner

from arcvit.arc.config import PEFT_TYPE, ArcConfig
from arcvit.arc.model import ArcModel

__all__ = ["PEFT_TYPE", "ArcConfig", "ArcModel", "register_tuner"]


def register_tuner(peft_type: str, config: type[PeftConfig], tuner: type[BaseTuner]) -> None:
    """Enter a tuner in PEFT's mappings, so that ``PeftModel.from_pretrained`` knows its adapters.

    Args:
        peft_type: its key.
        config: its config.
        tuner: the tuner; its ``prefix`` begins the names of its parameters.
    """
    PEFT_TYPE_TO_CONFIG_MAPPING[peft_type] = config
    PEFT_TYPE_TO_TUNER_MAPPING[peft_type] = tuner
    PEFT_TYPE_TO_PREFIX_MAPPING[peft_type] = tuner.prefix


register_tuner(PEFT_TYPE, ArcConfig, ArcModel)
