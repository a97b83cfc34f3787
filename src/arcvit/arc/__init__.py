"""The method: equations, sites, layer, PEFT tuner. Knows nothing of timm, data or training."""

# PEFT first: once it has loaded, ARC is registered with it, which imports the modules of this
# package in their order. Reached from one of them, that would be a circle.
import peft  # noqa: F401
