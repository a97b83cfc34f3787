"""One run as an ONNX file, its adapter folded in."""

from collections.abc import Sequence
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from arcvit.backbones.logits import logits_of
from arcvit.core.errors import UserError
from arcvit.core.shown import python_text
from arcvit.export.adapted import AdaptedModel, Written
from arcvit.export.onnx_graph import (
    onnx_metadata,
    open_session,
    run_split,
    save_onnx,
    to_onnx,
)
from arcvit.export.onnx_int8 import compared, round_weights
from arcvit.export.onnx_shared import write_shared

_LOADING = """\
import onnxruntime as ort
session = ort.InferenceSession({place})  # its metadata: labels, preprocessing, ...
logits = session.run(["logits"], {{"pixel_values": images}})[0]"""


def write_onnx(
    runs: Sequence[AdaptedModel], out: Path, *, shared: bool = False, int8: bool = False
) -> Written:
    """Write a run as one file, or runs as a graph and adapters that are its inputs.

    Args:
        runs: one, or several.
        out: the file; the folder where adapters are inputs.
        shared: whether adapters are inputs of one graph; always so of several runs.
        int8: whether the weights of linear layers are rounded to 8 bits.

    Raises:
        UserError: the model can't be exported, or its logits differ in ONNX Runtime.
    """
    if shared or len(runs) > 1:
        return write_shared(runs, out, int8=int8)
    (run,) = runs
    model, note = _plain(run)
    outputs = {"logits": {0: "batch"}} | ({} if run.means is None else {"likeness": {0: "batch"}})
    program = to_onnx(
        _WithLikeness(model, run.task.head, run.means),
        {"pixel_values": run.images[:2].expand(2, -1, -1, -1)},
        takes={"pixel_values": {0: "batch"}},
        gives=outputs,
        what=f"the model {run.name!r}",
    )
    save_onnx(program, out, metadata=onnx_metadata(run))
    if int8:
        round_weights(out)
    found = run_split(open_session(out), run.images)
    return Written(
        difference=compared(run, found["logits"], "the model in ONNX Runtime", int8=int8),
        loading=lambda place: _LOADING.format(place=python_text(place)),
        notes=(note,) if note else (),
    )


def _plain(run: AdaptedModel) -> tuple[nn.Module, str]:
    """The folded model; where that can't be, the adapted one, and a sentence that says so."""
    try:
        return run.folded().eval(), ""
    except UserError as error:
        return run.base.eval(), f"The adapter stays beside the backbone's weights: {error}"


class _WithLikeness(nn.Module):
    """A model that gives the cosine of its features and each class's mean too, if there are any."""

    means: Tensor | None

    def __init__(self, model: nn.Module, head: str, means: Tensor | None) -> None:
        super().__init__()
        self.model = model
        self._features: list[Tensor] = []
        self.register_buffer("means", None if means is None else F.normalize(means.float()))
        model.get_submodule(head).register_forward_pre_hook(self._keep)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        """Logits (B, K), and likeness (B, K)."""
        logits = logits_of(self.model(pixel_values))
        features = self._features.pop().flatten(1)
        if self.means is None:
            return (logits,)
        return logits, F.normalize(features) @ self.means.mT

    def _keep(self, head: nn.Module, given: tuple[Tensor, ...]) -> None:
        del head
        self._features.append(given[0])
