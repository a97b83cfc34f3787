"""The method: equations, sites, layer, PEFT tuner. Knows nothing of timm, data or training."""
