"""Models in ONNX Runtime: one by itself, and many tasks on one graph."""

import dataclasses
import json
import os
import resource
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from peft import get_peft_model
from torch import Tensor, nn

from arcvit import ArcConfig
from arcvit.core.errors import UserError
from arcvit.core.files import atomic_path
from arcvit.core.task import Calibration
from arcvit.engine.calibration import likeness
from arcvit.export import onnx_graph
from arcvit.export.adapted import AdaptedModel, logits_on
from arcvit.export.onnx_graph import open_session, run_split, save_onnx, to_onnx
from arcvit.export.onnx_inputs import adapter_inputs, input_form
from arcvit.export.onnx_mixed import side_by_side
from arcvit.export.onnx_model import write_onnx
from arcvit.export.onnx_shared import active, write_adapter_file
from arcvit.methods.table import method_named

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

Adapted = Callable[..., AdaptedModel]
VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 1, "num_heads": 2}
SWIN = VIT | {"patch_size": 2, "depths": (1, 1), "num_heads": (2, 2), "window_size": 4}
SWIN.pop("depth")
CALIBRATION = Calibration(temperature=1.0, images=9, score="cosine", threshold=0.25, coverage=0.95)


def make(adapted: Adapted, name: str, labels: int, head: str = "head", **arc: Any) -> AdaptedModel:
    """A run with so many labels on the tiny ViT or Swin, and mean features of each."""
    is_swin = head == "head.fc"
    torch.manual_seed(0)
    kind = "swin_tiny_patch4_window7_224" if is_swin else "vit_tiny_patch16_224"
    backbone = timm.create_model(kind, num_classes=3, **(SWIN if is_swin else VIT))
    torch.manual_seed(labels)
    config = ArcConfig(modules_to_save=[head], init_weights=False, num_classes=labels, **arc)
    model = get_peft_model(backbone, config).eval()
    with torch.no_grad():
        for parameter in model.get_base_model().get_submodule(head).parameters():
            parameter.normal_()
    run = adapted(model, head=head)
    task = dataclasses.replace(
        run.task, labels=[f"{name}-{i}" for i in range(labels)], calibration=CALIBRATION
    )
    means = torch.randn(labels, backbone.num_features)
    images = torch.randn(4, 3, 32, 32)
    return dataclasses.replace(
        run, name=name, task=task, means=means, images=images, expected=logits_on(model, images)
    )


@pytest.fixture(scope="module", params=["vit", "swin"])
def shared(
    request: pytest.FixtureRequest, adapted: Adapted, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[AdaptedModel], Path]:
    """Three tasks on one graph, and the folder."""
    head = {"vit": "head", "swin": "head.fc"}[request.param]
    runs = [
        make(adapted, "pets", 5, head, r=4),
        make(adapted, "signs", 2, head, r=7),
        make(adapted, "plants", 9, head, r=3, adapter_bias=False),
    ]
    out = tmp_path_factory.mktemp("onnx") / "shared"
    written = write_onnx(runs, out)
    assert written.difference < 1e-4
    return runs, out


def features(run: AdaptedModel) -> Tensor:
    seen: list[Tensor] = []
    head = run.base.get_submodule(run.task.head)
    with head.register_forward_pre_hook(lambda _, given: seen.append(given[0])):
        logits_on(run.model, run.images)
    return seen[0]


def test_each_task_gives_what_its_model_gives(shared: tuple[list[AdaptedModel], Path]) -> None:
    runs, out = shared
    session = open_session(out / "backbone.onnx")
    for run in runs:
        with active(out / f"{run.name}.onnx_adapter") as options:
            found = run_split(session, run.images, run_options=options)
        torch.testing.assert_close(found["logits"], run.expected, rtol=0, atol=1e-4)
        expected = likeness(features(run), run.means)
        torch.testing.assert_close(found["likeness"].amax(-1), expected, rtol=0, atol=1e-5)
        said = json.loads((out / f"{run.name}.json").read_text())
        assert (said["labels"], said["known_from"]) == (run.labels, 0.25)
    # Without a task it is the plain backbone, whose head has one label and says nothing.
    assert not session.run(["logits"], {"pixel_values": runs[0].images.numpy()})[0].any()


def test_tasks_pass_in_one_batch(shared: tuple[list[AdaptedModel], Path]) -> None:
    runs, out = shared
    form = input_form(runs)
    given = [adapter_inputs(run, form) for run in runs]
    task_of_row = [2, 0, 0, 1]
    images = torch.stack([runs[task].images[row] for row, task in enumerate(task_of_row)])
    session = open_session(out / "backbone.onnx")
    shapes = json.loads(session.get_modelmeta().custom_metadata_map["inputs"])["shapes"]
    feed = {"pixel_values": images.numpy()} | side_by_side(given, task_of_row, shapes)
    logits = session.run(["logits"], feed)[0]
    ends = np.cumsum([len(run.labels) for run in runs])
    for row, task in enumerate(task_of_row):
        own = logits[row, ends[task] - len(runs[task].labels) : ends[task]]
        np.testing.assert_allclose(own, runs[task].expected[row], rtol=0, atol=1e-4)


def test_a_model_by_itself(adapted: Adapted, tmp_path: Path) -> None:
    # An adapter before the norm can't be folded, and needn't be.
    run = make(adapted, "pets", 5, r=4, placement="before_norm")
    written = write_onnx([run], tmp_path / "pets.onnx")
    assert written.difference < 1e-4
    assert "stays beside" in written.notes[0]
    assert str(Path(timm.__file__).parents[1]).encode() not in (tmp_path / "pets.onnx").read_bytes()
    session = open_session(tmp_path / "pets.onnx")
    said = session.get_modelmeta().custom_metadata_map
    assert json.loads(said["labels"]) == run.labels
    assert said["known_from"] == "0.25"
    expected = likeness(features(run), run.means)
    found = run_split(session, run.images)
    torch.testing.assert_close(found["likeness"].amax(-1), expected, rtol=0, atol=1e-5)


def test_prompts_beside_the_tokens(adapted: Adapted, tmp_path: Path) -> None:
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=3, **VIT)
    spec = method_named("vpt")
    run = adapted(spec.build(vit, spec.make_options(), "head").eval())
    assert write_onnx([run], tmp_path / "vpt.onnx").difference < 1e-5


def test_weights_in_8_bits(adapted: Adapted, tmp_path: Path) -> None:
    runs = [make(adapted, "pets", 5, r=4), make(adapted, "signs", 2, r=7)]
    written = write_onnx(runs, tmp_path / "small", int8=True)
    assert 1e-4 < written.difference < 0.25 * max(run.expected.abs().max() for run in runs)
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "small/backbone.onnx").graph.node)
    # qkv, proj, fc1 and fc2; not the head, the adapters' four products, the attention's two.
    assert kinds["MatMulInteger"] == 4
    assert kinds["MatMul"] + kinds["Gemm"] == 1 + 1 + 4 + 2


class Spectrum(nn.Module):
    """What ONNX can't do."""

    def forward(self, pixel_values: Tensor) -> Tensor:
        return torch.linalg.eigvals(pixel_values[:, 0]).real


class Branching(nn.Module):
    """What no graph can do."""

    def forward(self, pixel_values: Tensor) -> Tensor:
        return pixel_values[:, 0] if pixel_values.sum() > 0 else pixel_values[:, 1]


@pytest.mark.parametrize(
    ("model", "named"),
    [(Spectrum(), "linalg_eig"), (Branching(), r"'return pixel_values.*' in test_onnx.py, line")],
)
def test_what_onnx_lacks_is_named(model: nn.Module, named: str) -> None:
    with pytest.raises(UserError, match=rf"it can't be exported to ONNX: .*{named}.*--format"):
        export(model)


def test_a_disk_that_takes_no_more(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(OSError), atomic_path(tmp_path / "a.onnx_adapter") as partial:
            write_adapter_file({"head.weight": np.zeros((99, 99), np.float32)}, partial)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_names_that_are_not_utf_8_are_kept(tmp_path: Path) -> None:
    labels = ["图", os.fsdecode(b"\xff")]
    save_onnx(export(nn.Conv2d(3, 8, 8)), tmp_path / "m.onnx", metadata={"labels": labels})
    held = open_session(tmp_path / "m.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(held["labels"]) == labels


def test_a_model_too_large_for_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = export(nn.Conv2d(3, 8, 8))
    monkeypatch.setattr(onnx_graph, "MOST_BYTES", 1000)
    with pytest.raises(UserError, match="an ONNX file holds 2: expected a smaller"):
        save_onnx(program, tmp_path / "m.onnx", metadata={})
    assert not list(tmp_path.iterdir())


def export(model: nn.Module) -> Any:
    images = torch.zeros(2, 3, 8, 8)
    batch = {0: "batch"}
    return to_onnx(
        model.eval(),
        {"pixel_values": images},
        takes={"pixel_values": batch},
        gives={"logits": batch},
        what="it",
    )


def test_the_command_says_what_it_wrote(trained, arcvit, tmp_path: Path) -> None:
    answer = arcvit(
        "export", trained("arc"), "--format=onnx", "--shared", f"--out={tmp_path / 'out'}"
    )
    assert answer.code == 0, answer.err
    assert "photos" in answer.out
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "arc.json",
        "arc.onnx_adapter",
        "backbone.onnx",
    ]
