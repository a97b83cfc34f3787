"""A task of several labels an image, from training to whatever is done with the run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import transformers
from PIL import Image

from arcvit import load as arcvit_load
from arcvit.backbones.quiet import quiet_transformers
from arcvit.core.errors import UserError
from arcvit.core.multilabel import mean_average_precision
from arcvit.core.predictions import read_predictions
from arcvit.core.probabilities import read_probabilities
from arcvit.core.result import read_result
from arcvit.core.task import read_task
from arcvit.data.config import DataConfig
from arcvit.engine.config import OptimConfig
from arcvit.recipe import compare_labels
from arcvit.recipe.compare import compare
from arcvit.recipe.compare_labels import bootstrapped, chance, interval
from arcvit.recipe.recipe import Recipe
from arcvit.serve.model import ServedModel
from arcvit.serve.settings import ServeSettings

Arcvit = Callable[..., Any]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise that is redder, greener, both or neither, as a table of names."""
    folder = tmp_path_factory.mktemp("several")
    draws = np.random.default_rng(0)
    lines = ["path,label,split"]
    for split, count in (("train", 48), ("val", 24), ("test", 24)):
        for index in range(count):
            has = draws.random(2) < 0.5
            pixels = draws.normal(90, 40, (24, 24, 3)) + draws.normal(0, 20, 3)
            pixels[..., :2] += 40 * has
            name = f"{split}_{index}.png"
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name)
            own = "|".join(np.array(["red", "green"])[has])
            lines.append(f"{name},{own},{split}")
    (folder / "lights.csv").write_text("\n".join(lines))
    return folder / "lights.csv"


@pytest.fixture(scope="module")
def trained_on_several(table: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from arcvit.cli.main import main

    out = tmp_path_factory.mktemp("runs") / "several"
    flags = ["--task=multilabel", f"--backbone={tiny}", "--method=linear", "--engine.epochs=12"]
    flags += ["--engine.precision=fp32", "--data.augment=none", "--optim.lr=0.03", "--quiet"]
    assert main(["train", str(table), *flags, f"--out={out}"]) == 0
    return out


@pytest.mark.slow
def test_what_a_run_leaves(trained_on_several: Path, table: Path, arcvit: Arcvit) -> None:
    run = trained_on_several
    result, task = read_result(run), read_task(run / "adapter")
    assert (result.kind, result.metric, result.val_accuracy) == ("multilabel", "mAP", None)
    assert list(result.metrics["test"]) == ["mAP", "macro_f1", "micro_f1", "exact_match"]
    assert result.metrics["test"]["mAP"] > 0.6
    assert (task.kind, len(task.thresholds or ())) == ("multilabel", 2)

    said = read_probabilities(run, labels=2)["test"]
    images = [image for image in read_predictions(run) if image.split == "test"]
    for image, row, own in zip(images, said.probabilities, said.truth, strict=True):
        assert image.label == "|".join(task.labels[k] for k in np.flatnonzero(own))
        given = sorted(task.given(row.tolist()))
        assert image.predicted == "|".join(task.labels[k] for k in given)

    files = [table.parent / image.path for image in images]
    lines = arcvit("predict", run, *files, "--json").out.splitlines()
    for line, image in zip(lines, images, strict=True):
        assert set(json.loads(line)["labels"]) == set(filter(None, image.predicted.split("|")))
    measured = json.loads(arcvit("evaluate", run, "--json").out)
    assert measured["metrics"] == pytest.approx(result.metrics["test"])
    assert measured["accuracy"] is None
    assert "test mAP" in arcvit("evaluate", run).out
    text = arcvit("predict", run, *files, "--csv=-").out
    assert text.startswith("path,labels,label,probability,known,error,label_2,probability_2\n")


@pytest.mark.slow
def test_it_goes_into_plain_timm_and_onto_a_page(
    trained_on_several: Path, tmp_path: Path, arcvit: Arcvit
) -> None:
    told = arcvit("merge", trained_on_several, f"--out={tmp_path / 'plain'}").out
    assert "take the sigmoid of each, not softmax" in told
    plain = timm.create_model(f"local-dir:{tmp_path / 'plain'}", pretrained=True).eval()
    assert plain(torch.zeros(1, 3, *plain.pretrained_cfg["input_size"][1:])).shape == (1, 2)
    arcvit("report", trained_on_several)
    page = (trained_on_several / "index.html").read_text()
    assert "Label by label" in page
    assert "What is taken for what" not in page
    table = (trained_on_several / "classes.csv").read_text()
    assert table.startswith("class,images,average_precision,")
    card = (trained_on_several / "adapter" / "README.md").read_text()
    assert "- mAP on the test split: " in card


COMMANDS = [
    ("inspect {run}", 0, "thresholds"),
    ("inspect {run} --json", 0, '"kind": "multilabel"'),
    ("evaluate {run} --split=val", 0, "val mAP"),
    ("predict {run} {images} --threshold=0.3", 0, "val_0.png"),
    ("embed {run} {images} --out=features.npz", 0, "features of 32 values"),
    ("export {run} --format=timm --out=exported", 0, "take the sigmoid of each, not softmax"),
    ("push {run} me/lights", 2, "me/lights"),
    ("data check {table} --task=multilabel", 0, "in 4 combinations"),
    ("data suspects {table} --run={run}", 0, "the labels of 96 images judged by a linear probe"),
    ("data suspects {table} --task=single --run={run}", 2, "is of task multilabel"),
    ("data suspects {table}", 2, "--task multilabel splits them at '|'"),
    ("data next {photos} --run={run}", 2, "gives an image several labels"),
    ("train {photos} {short} --init_from={run}", 2, "is of a task that is multilabel"),
    ("train {table} --task=multilabel {short} --init_from={run} --out=again", 0, "test mAP"),
]
"""What is done with a run or its images, the exit code, and what is said.

Compare, merge, report and the rest of evaluate and predict: above and below."""


@pytest.mark.slow
@pytest.mark.parametrize(("command", "code", "sentence"), COMMANDS)
def test_every_command_does_it_or_says_why_not(
    trained_on_several: Path,
    table: Path,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arcvit: Arcvit,
    photos: Path,
    command: str,
    code: int,
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    named = {"photos": photos, "run": trained_on_several, "table": table}
    named["images"] = table.parent / "val_0.png"
    short = f"--backbone={tiny} --method=linear --engine.epochs=1 --quiet"
    parts = [part.format(**named) for part in command.replace("{short}", short).split()]
    answer = arcvit(*parts)
    assert (answer.code, sentence in answer.out + answer.err) == (code, True), answer
    if code:
        assert answer.err.count("\n") == 1
        assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_pipeline_of_transformers_takes_the_sigmoid(
    table: Path, tmp_path: Path, arcvit: Arcvit
) -> None:
    vit, run, merged = tmp_path / "vit", tmp_path / "run", tmp_path / "merged"
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.ViTConfig(**sizes, intermediate_size=64, image_size=32, patch_size=8)
    with quiet_transformers():
        transformers.ViTForImageClassification(config).save_pretrained(vit)
    transformers.ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(vit)
    flags = ["--task=multilabel", "--engine.epochs=2", "--data.augment=none", "--quiet"]
    answer = arcvit("train", table, f"--backbone={vit}", "--arc.r=4", *flags, f"--out={run}")
    assert answer.code == 0, answer.err
    arcvit("merge", run, f"--out={merged}")
    image = str(table.parent / "val_0.png")
    with quiet_transformers():
        said = transformers.pipeline("image-classification", model=str(merged))(image)
    task, found = read_task(run / "adapter"), {row["label"]: row["score"] for row in said}
    assert task.calibration is not None
    (ours,) = arcvit_load(run).predict(image, top=2)
    expected = {row.label: row.probability for row in ours.top}
    assert sorted(found) == sorted(expected) == ["green", "red"]
    for label, score in found.items():
        logit = np.log(score / (1 - score)) / task.calibration.temperature
        # The pipeline resizes with torchvision, which differs from Pillow by a grey level.
        assert 1 / (1 + np.exp(-logit)) == pytest.approx(expected[label], abs=0.02)


@pytest.mark.slow
def test_a_server_reads_its_thresholds(trained_on_several: Path, tiny: Path) -> None:
    model = ServedModel(str(tiny), ServeSettings(device="cpu"))
    read = model.reader.read("lights", 1, trained_on_several / "adapter")
    expected = read_task(trained_on_several / "adapter").thresholds
    assert expected is not None
    assert (read.about.kind, read.about.thresholds) == ("multilabel", expected)


@pytest.mark.slow
def test_runs_are_compared_by_map(
    trained_on_several: Path, trained: Callable[[str], Path], tmp_path: Path, arcvit: Arcvit
) -> None:
    run, other = trained_on_several, tmp_path / "copy"
    shutil.copytree(run, other)
    found = compare(run, other)
    assert (found.metric, found.images, found.differences[0].p) == ("mAP", 24, 1)
    assert found.runs[0].value == pytest.approx(read_result(run).metrics["test"]["mAP"])
    assert found.runs[0].low <= found.runs[0].value <= found.runs[0].high
    assert "mAP on 24 test images" in arcvit("compare", run, other).out
    with pytest.raises(
        UserError, match="some of the runs have one label an image and some several"
    ):
        compare(run, trained("arc"))


def test_samples_are_drawn_for_all_runs_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    one, other = generator.random((2, 20, 3))
    truth = generator.random((20, 3)) < (0.02, 0.1, 0.5)
    samples = bootstrapped([one, other], truth)
    draws = np.random.default_rng(0)
    for sample in range(5):
        drawn = draws.integers(0, 20, 20)
        expected = [mean_average_precision(run[drawn], truth[drawn]) for run in (one, other)]
        assert samples[:, sample].tolist() == pytest.approx(expected)
    monkeypatch.setattr(compare_labels, "_COUNTS", 20 * 300)  # the last of four parts is short
    assert np.array_equal(bootstrapped([one, other], truth), samples, equal_nan=True)
    nobody = bootstrapped([one[:2]], np.array([[True], [False]]).repeat(3, axis=1))
    assert 0.1 < np.isnan(nobody).mean() < 0.4  # a quarter of the samples has no label


def test_an_interval_takes_off_what_samples_exceed_the_value_by() -> None:
    draws = np.random.default_rng(0).normal(0.5, 0.02, size=1000)
    low, high = interval(0.46, draws)
    assert (low, high) == pytest.approx((0.38, 0.46), abs=5e-3)
    assert interval(0.2, draws)[1] == 0.2  # samples all above it: it stays an end
    assert interval(0.0, draws) == (0.0, 0.0)


def test_chance_is_told_from_samples() -> None:
    draws = np.random.default_rng(0).normal(size=1000)
    assert chance(draws, draws) == 1
    assert chance(draws, draws + 9) == 0.001
    assert 0.9 < chance(np.zeros(1000), draws) <= 1


DATA = DataConfig(path="photos")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"metric": "accuracy"}, "metric is 'accuracy' and task multilabel: expected one of mAP"),
        ({"optim": OptimConfig(class_weights="auto")}, "optim.class_weights weighs images by the"),
        ({"folds": 5}, "folds measures tasks of one label an image: leave it out"),
        ({"task": "single", "metric": "mAP"}, "metric is 'mAP' and task single: expected one of"),
    ],
)
def test_settings_of_the_other_kind(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Recipe(**{"data": DATA, "task": "multilabel", **settings})
