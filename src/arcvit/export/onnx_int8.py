"""Weights of an ONNX file in 8 bits, by ONNX Runtime's own tool.

The weights of linear layers are rounded with a scale for each output, and what they are multiplied
with when it is run, by the range that it has in the batch: so nothing needs to be calibrated on
photos, and an image's logits depend a little on the images beside it. Adapters that are inputs, the
attention's own products, norms and the convolution that cuts patches keep their precision.
"""

import logging
from pathlib import Path

from torch import Tensor

from arcvit.export.adapted import AdaptedModel

TOLERANCE = 0.25
"""Largest difference of logits from the adapted model that rounding explains, relative to the
largest of them."""


def round_weights(file: Path) -> None:
    """Round the weights of a model's linear layers, in place.

    Args:
        file: the model; what is an input of it has no default, or that would be rounded instead.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logger = logging.getLogger()
    level = logger.level
    rounded = file.with_name(f"{file.name}.int8")
    try:
        logger.setLevel(logging.ERROR)  # it advises a preparation that the exporter has done
        quantize_dynamic(
            file,
            rounded,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            # To 7 bits: sums of two full products overflow on processors without VNNI.
            reduce_range=True,
            weight_type=QuantType.QInt8,
        )
        rounded.replace(file)
    finally:
        logger.setLevel(level)
        rounded.unlink(missing_ok=True)


def compared(run: AdaptedModel, logits: Tensor, what: str, *, int8: bool) -> float:
    """The largest difference from the run's logits, where it is no larger than it may be."""
    if not int8:
        return run.compare(logits, what)
    what = f"{what}, with weights in 8 bits,"
    return run.compare(logits, what, tolerance=TOLERANCE, advice="leave out int8")
