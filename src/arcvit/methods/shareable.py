"""Which adapters can stand beside others on one backbone: those that only add to it."""

from peft import LoraConfig, PeftConfig

from arcvit.arc.config import ArcConfig
from arcvit.methods.linear import NO_LAYER


def why_not_shared(config: PeftConfig | None, head: str) -> str | None:
    """Why an adapter needs a model of its own, as "it is ..."; None: it can share one.

    Args:
        config: PEFT's config of the adapter; None where a model was trained whole.
        head: qualified name of the head.
    """
    if config is None:
        return "it is a model trained whole, which shares no batch"
    if set(config.modules_to_save or ()) != {head}:
        saved = ", ".join(sorted(config.modules_to_save or ()))
        return f"it trains {saved}, and not its head alone"
    if getattr(config, "bias", "none") != "none":
        return "it trains biases of the backbone too"
    has_no_layer = isinstance(config, LoraConfig) and config.target_modules in (
        NO_LAYER,
        {NO_LAYER},
    )
    if isinstance(config, ArcConfig) or has_no_layer:
        return None
    return f"adapters of {str.__str__(config.peft_type)} share no batch with others"
