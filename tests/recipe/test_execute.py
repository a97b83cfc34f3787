"""A run from recipe to result."""

import json
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import load_file

from arcvit.core.errors import UserError
from arcvit.core.result import read_result
from arcvit.engine.clock import PARTS
from arcvit.recipe.execute import execute
from arcvit.recipe.parser import parse_recipe, read_recipe
from arcvit.recipe.recipe import Recipe
from arcvit.recipe.run import Run

METHODS = (
    "arc",
    "linear",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in ("arc_plus", "full", "bitfit", "lora")
    ),
)

FIELDS = {
    "task": "colours",
    "seed": 0,
    "preset": "model",
    "selection": "fitted on train, last epoch, test read once",
    "classes": 4,
    "train_images": 48,
    "skipped_images": 0,
    "epochs": 4,
}


@pytest.fixture
def make(short_run: tuple[str, ...]) -> Callable[..., Recipe]:
    """A recipe of a short run, with more flags."""

    def recipe(*flags: str) -> Recipe:
        known = [flag for flag in short_run if flag != "--quiet"]
        return parse_recipe([*known, *flags])

    return recipe


def quietly(recipe: Recipe, run: Path) -> dict[str, torch.Tensor]:
    """Execute, and what was learned."""
    execute(Run(recipe, run), Console(file=StringIO()), quiet=True)
    return learned(run)


def learned(run: Path) -> dict[str, torch.Tensor]:
    (file,) = (run / "adapter").glob("*model.safetensors")
    return load_file(file)


def assert_identical(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert list(one) == list(other)
    for name in one:
        assert torch.equal(one[name], other[name]), name


@pytest.mark.parametrize("method", METHODS)
def test_the_run_folder(trained: Callable[[str], Path], tiny: Path, method: str) -> None:
    run = trained(method)
    names = sorted(path.name for path in run.iterdir())
    kept = ["adapter", "images.json", "metrics.jsonl", "predictions.csv", "recipe.yaml"]
    assert names == [*kept, "result.json"]
    result = json.loads((run / "result.json").read_text())
    assert {key: result[key] for key in FIELDS} == FIELDS
    assert (result["method"], result["backbone"]) == (method, str(tiny))
    assert 0.5 < result["test_accuracy"] < 1
    assert 0.5 < result["val_accuracy"] <= 1
    params = result["params"]
    assert params["total"] == params["adapter"] + params["head"]
    assert params["head"] == 132
    assert (params["adapter"] == 0) == (result["adapter_bytes"] == 0) == (method == "linear")
    assert result["adapter_bytes"] >= 4 * params["adapter"]
    assert set(result["seconds"]) == {"train", "eval"}
    assert min(result["seconds"].values()) > 0
    speed = 4 * 48 / result["seconds"]["train"]
    assert result["images_per_second"] == pytest.approx(speed)
    assert result["peak_memory_mb"] > 1
    assert set(result["versions"]) == {"torch", "timm", "peft", "accelerate"}


def test_metrics_hold_a_line_an_epoch(trained: Callable[[str], Path]) -> None:
    lines = (trained("arc") / "metrics.jsonl").read_text().splitlines()
    epochs = [json.loads(line) for line in lines]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3, 4]
    for epoch in epochs:
        assert 0 <= epoch["train_accuracy"] <= 1
        assert 0 <= epoch["val_accuracy"] <= 1
        assert epoch["images"] == 48
        assert epoch["images_per_second"] == pytest.approx(48 / epoch["seconds"])
    assert epochs[-1]["train_loss"] < epochs[0]["train_loss"]
    assert epochs[-1]["lr"] == pytest.approx(0, abs=1e-12)
    result = read_result(trained("arc"))
    assert result.val_accuracy == epochs[-1]["val_accuracy"]
    assert result.seconds["train"] == pytest.approx(sum(epoch["seconds"] for epoch in epochs))


@pytest.mark.parametrize("method", METHODS)
def test_the_recipe_gives_the_same_run_again(
    trained: Callable[[str], Path], tmp_path: Path, method: str
) -> None:
    recipe = read_recipe(trained(method) / "recipe.yaml")
    assert_identical(quietly(recipe, tmp_path / "again"), learned(trained(method)))
    before, again = read_result(trained(method)), read_result(tmp_path / "again")
    for name in ("val_accuracy", "test_accuracy", "params", "adapter_bytes"):
        assert getattr(again, name) == getattr(before, name)


def test_the_recipe_is_complete(trained: Callable[[str], Path]) -> None:
    written = yaml.safe_load((trained("arc") / "recipe.yaml").read_text())
    recipe = read_recipe(trained("arc") / "recipe.yaml")
    assert written == recipe.to_dict()
    assert recipe.optim.lr is not None


@pytest.mark.slow
def test_another_seed_gives_another_adapter(
    trained: Callable[[str], Path], make: Callable[..., Recipe], tmp_path: Path
) -> None:
    other = quietly(make("--seed=1"), tmp_path / "run")
    assert any(not torch.equal(other[name], t) for name, t in learned(trained("arc")).items())


@pytest.mark.slow
@pytest.mark.parametrize("method", ["arc", "linear"])
def test_validation_doesnt_change_training(
    make: Callable[..., Recipe], tmp_path: Path, method: str
) -> None:
    # fgvc draws crops and flips, ARC dropout: a stray draw would show.
    flags = (f"--method={method}", "--data.preset=fgvc", "--arc.arc_dropout=0.5")
    never = quietly(make(*flags, "--engine.validate_every=0"), tmp_path / "never")
    always = quietly(make(*flags, "--engine.validate_every=1"), tmp_path / "always")
    assert_identical(never, always)
    epochs = (tmp_path / "never" / "metrics.jsonl").read_text().splitlines()
    measured = [json.loads(epoch)["val_accuracy"] is not None for epoch in epochs]
    assert measured == [False, False, False, True]


@pytest.mark.slow
def test_the_head_alone_learns_the_same_on_features(
    make: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = make("--method=linear")
    on_features = quietly(recipe, tmp_path / "features")
    monkeypatch.setattr("arcvit.engine.features.only_head_learns", lambda *_: False)
    on_images = quietly(recipe, tmp_path / "images")
    assert list(on_features) == list(on_images)
    for name, value in on_features.items():
        torch.testing.assert_close(value, on_images[name], rtol=1e-4, atol=1e-6)
    one, other = read_result(tmp_path / "features"), read_result(tmp_path / "images")
    assert (one.val_accuracy, one.test_accuracy) == (other.val_accuracy, other.test_accuracy)


def test_without_validation_and_test_nothing_is_measured(
    make: Callable[..., Recipe], paint_classes: Callable[..., Path], tmp_path: Path
) -> None:
    photos = paint_classes(tmp_path / "photos", 4)
    flags = (f"--data.path={photos}", "--data.val_fraction=0", "--data.test_fraction=0")
    quietly(make(*flags), tmp_path / "run")
    result = read_result(tmp_path / "run")
    assert (result.val_accuracy, result.test_accuracy) == (None, None)
    assert result.train_images == 16


@pytest.mark.slow
def test_trainval_is_not_validated(make: Callable[..., Recipe], tmp_path: Path) -> None:
    quietly(make("--data.fit_on=trainval"), tmp_path / "run")
    result = read_result(tmp_path / "run")
    assert (result.train_images, result.val_accuracy) == (72, None)
    assert result.selection.startswith("fitted on trainval")


@pytest.mark.slow
def test_two_precisions_in_one_process(make: Callable[..., Recipe], tmp_path: Path) -> None:
    exact = quietly(make("--engine.precision=fp32"), tmp_path / "fp32")
    rounded = quietly(make("--engine.precision=bf16"), tmp_path / "bf16")
    assert any(not torch.equal(exact[name], rounded[name]) for name in exact)
    assert all(value.dtype == torch.float32 for value in rounded.values())


@pytest.mark.slow
def test_label_smoothing_reaches_the_loss(make: Callable[..., Recipe], tmp_path: Path) -> None:
    def last_loss(run: str, *flags: str) -> float:
        quietly(make("--optim.lr=0.05", *flags), tmp_path / run)
        lines = (tmp_path / run / "metrics.jsonl").read_text().splitlines()
        return float(json.loads(lines[-1])["train_loss"])

    assert last_loss("smooth", "--engine.label_smoothing=0.5") > last_loss("plain") + 0.1


@pytest.mark.slow
def test_tensorboard_writes_into_the_run(make: Callable[..., Recipe], tmp_path: Path) -> None:
    quietly(make("--engine.track=[tensorboard]"), tmp_path / "run")
    (file,) = (tmp_path / "run" / "tensorboard").iterdir()
    assert file.name.startswith("events.out.tfevents")


@pytest.mark.slow
def test_the_checkpoint_stays_if_asked_for(make: Callable[..., Recipe], tmp_path: Path) -> None:
    quietly(make("--engine.keep_checkpoint=true"), tmp_path / "run")
    saved = json.loads((tmp_path / "run" / "checkpoint" / "epoch-4" / "epoch.json").read_text())
    assert len(saved["history"]) == 4


def test_a_run_tells_what_it_does(make: Callable[..., Recipe], tmp_path: Path) -> None:
    told = StringIO()
    execute(Run(make(), tmp_path / "run"), Console(file=told, width=40))
    lines = told.getvalue().splitlines()
    assert lines[0] == "colours: 4 classes, 48 train, 24 val, 32 test"
    assert "672 adapter and 132 head parameters train, " in lines[1]
    assert [line.split()[2] for line in lines[2:]] == ["1/4", "2/4", "3/4", "4/4"]


def test_an_error_while_training_leaves_nothing_before_the_first_epoch(
    make: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("arcvit.recipe.execute.Trainer.fit", broken)
    with pytest.raises(RuntimeError, match="broken"):
        execute(Run(make("--engine.track=[tensorboard]"), tmp_path / "run"), Console(), quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_removed_while_training(
    make: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_and_remove(run: Path, history: object) -> None:
        shutil.rmtree(run)

    monkeypatch.setattr("arcvit.recipe.execute.write_metrics", write_and_remove)
    with pytest.raises(UserError, match="run was removed or taken over by another process"):
        execute(Run(make(), tmp_path / "run"), Console(), quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_tracker_that_is_not_installed(
    make: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"engine\.track=wandb needs wandb, .*arcvit\[wandb\]"):
        execute(Run(make("--engine.track=[wandb]"), tmp_path / "run"), Console(), quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("method", "augment"), [("arc", "flip"), ("linear", "none")])
def test_the_profile(
    make: Callable[..., Recipe], tmp_path: Path, method: str, augment: str
) -> None:
    text = StringIO()
    recipe = make("--engine.profile=true", f"--method={method}", f"--data.augment={augment}")
    execute(Run(recipe, tmp_path / "run"), Console(file=text))
    record = json.loads((tmp_path / "run" / "profile.json").read_text())
    assert sum(record[part] for part in (*PARTS, "other")) == pytest.approx(record["wall"])
    # A linear probe learns on features that are computed once.
    assert (record["features"] > 0) == (method == "linear")
    assert all(
        record[part] > 0
        for part in (*PARTS, "other", "startup", "decoding")
        if part not in ("features", "step")
    )
    assert 0 < record["learning"] < 1
    assert f"optimizer, step) {record['learning']:.1%}" in text.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize(("lr", "told"), [("1e-9", True), ("1e-2", False)])
def test_a_run_that_learned_nothing_is_told(
    make: Callable[..., Recipe], tmp_path: Path, lr: str, told: bool
) -> None:
    shown = StringIO()
    execute(Run(make("--optim.lr", lr), tmp_path / "run"), Console(file=shown))
    assert ("warning: arc learned nothing: the training loss ended at" in shown.getvalue()) == told
