"""Write the folded model as a program of torch.export, which runs without its library's code.

B images, K labels.
"""

import io
import json
import logging
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from arcvit.backbones.logits import logits_of
from arcvit.core.errors import UserError
from arcvit.core.shown import python_text
from arcvit.export.adapted import AdaptedModel, Written
from arcvit.export.lost import lost_beside_metadata
from arcvit.export.metadata import metadata

METADATA = "metadata.json"
_LOADING = """\
import json, torch
files = {{"metadata.json": ""}}
model = torch.export.load({place}, extra_files=files).module()
labels = json.loads(files["metadata.json"])["labels"]"""


class Logits(nn.Module):
    """Images (B, 3, H, W) to logits (B, K), whoever made the model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """The logits."""
        return logits_of(self.model(images))


def write_torch(runs: Sequence[AdaptedModel], out: Path) -> Written:
    """Write a ``.pt2`` for any number of images, read it back and compare.

    Beside the program it holds ``metadata.json``: labels, kind, thresholds, preprocessing.

    Raises:
        UserError: the backbone can't be exported, the adapter can't be folded, or the logits
            differ.
    """
    (run,) = runs
    program = exported_program(run)
    _forget_this_machine(program)
    # Where a disk is full, torch's own writer to files ends the whole process.
    whole = io.BytesIO()
    torch.export.save(program, whole, extra_files={METADATA: json.dumps(metadata(run.task))})
    out.write_bytes(whole.getbuffer())
    reloaded = torch.export.load(out).module()
    with torch.inference_mode():
        together = reloaded(run.images)
        alone = reloaded(run.images[:1])
    run.compare(torch.cat([alone, together[1:]]), "the exported program")
    return Written(
        difference=run.compare(together, "the exported program"),
        loading=lambda place: _LOADING.format(place=python_text(place)),
        notes=lost_beside_metadata(run.task),
    )


def exported_program(run: AdaptedModel) -> torch.export.ExportedProgram:
    """The folded model as a program, for any number of images of the run's size.

    Raises:
        UserError: it can't be exported; the sentence names the operation.
    """
    images = run.images[:2] if len(run.images) > 1 else run.images.repeat(2, 1, 1, 1)
    batch, model = torch.export.Dim("batch"), Logits(run.folded()).eval()
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # where it fails torch logs the graph so far
    try:
        return torch.export.export(model, (images,), dynamic_shapes={"images": {0: batch}})
    except (MemoryError, UserError):
        raise
    # torch has an exception for each of its layers, and models raise their own while traced.
    except Exception as error:
        raise UserError(
            f"{run.task.backbone.name!r} can't be exported by torch: {why_not_exported(error)}."
            " Use --format timm or transformers, which need no export, or another backbone."
        ) from error
    finally:
        logging.disable(disabled)


def _forget_this_machine(program: torch.export.ExportedProgram) -> None:
    """Drop what would go along unasked: the photos that it was traced with, paths of the code."""
    program.example_inputs = None
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)


def why_not_exported(error: Exception) -> str:
    """The line of the model's code that can't be exported, and what torch says of it."""
    others = (str(Path(torch.__file__).parent), str(Path(__file__).parent), "<")
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(others)]
    lines = [line.strip(" -") for line in str(error).splitlines() if line.strip()]
    said = next((line for line in lines if "violated" not in line), type(error).__name__)
    said = said.split("; ")[0].split(". ")[0][:200].rstrip(".")
    if not own:
        return said
    where = own[-1]
    return f"{where.line!r} in {Path(where.filename).name}, line {where.lineno} ({said})"
