"""Adapt one pretrained vision transformer to many small image tasks with ARC adapters.

Train on a folder of photos and ask:

    >>> import arcvit
    >>> run = arcvit.train("photos", out="runs/photos")
    >>> arcvit.load(run).predict("photo.jpg")

Any name imported from here makes ARC known to PEFT:

    >>> from arcvit import ArcConfig
    >>> from peft import PeftModel, get_peft_model
    >>> model = get_peft_model(vit, ArcConfig(modules_to_save=["head"]))
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arcvit.arc.activations import initialize_from_activations
    from arcvit.arc.config import ArcConfig
    from arcvit.arc.layer import ArcLayer
    from arcvit.arc.model import ArcModel
    from arcvit.curate.next_photos import next_photos
    from arcvit.curate.suspects import find_suspects
    from arcvit.recipe.adapter import load_adapter, save_adapter
    from arcvit.recipe.classifier import Classifier, load
    from arcvit.recipe.compare import compare
    from arcvit.recipe.export import export_adapters
    from arcvit.recipe.prediction import Prediction
    from arcvit.recipe.train import train

__all__ = [
    "ArcConfig",
    "ArcLayer",
    "ArcModel",
    "Classifier",
    "Prediction",
    "__version__",
    "compare",
    "export_adapters",
    "find_suspects",
    "initialize_from_activations",
    "load",
    "load_adapter",
    "next_photos",
    "save_adapter",
    "train",
]

_LAZY = {
    "ArcConfig": "arcvit.arc.config",
    "ArcLayer": "arcvit.arc.layer",
    "ArcModel": "arcvit.arc.model",
    "Classifier": "arcvit.recipe.classifier",
    "Prediction": "arcvit.recipe.prediction",
    "compare": "arcvit.recipe.compare",
    "export_adapters": "arcvit.recipe.export",
    "find_suspects": "arcvit.curate.suspects",
    "initialize_from_activations": "arcvit.arc.activations",
    "load": "arcvit.recipe.classifier",
    "load_adapter": "arcvit.recipe.adapter",
    "next_photos": "arcvit.curate.next_photos",
    "save_adapter": "arcvit.recipe.adapter",
    "train": "arcvit.recipe.train",
}
_REGISTERS = ("arcvit.arc.register", "arcvit.methods.tuners")


def __getattr__(name: str) -> Any:
    """The public names, imported when they are first asked for: torch takes seconds to import."""
    if name in _LAZY:
        for module in _REGISTERS:
            importlib.import_module(module)
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("arcvit")
    raise AttributeError(f"module 'arcvit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
