"""What was learned comes back, also in plain PEFT and plain timm."""

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from peft import PeftModel
from torch import Tensor, nn

from arcvit.backbones.build import build_backbone
from arcvit.core.errors import UserError
from arcvit.core.result import read_result
from arcvit.core.task import read_task
from arcvit.data.pixels.augment import ToInput
from arcvit.recipe.images import decode_split
from arcvit.recipe.load import LoadedRun, load_run, load_trained
from arcvit.recipe.merge import merge_run
from arcvit.recipe.prepare import open_recipe_task

NAMES = ("arc", "lora", "arc_att", "linear", "bitfit", "full")
METHODS = (*NAMES[:2], *(pytest.param(name, marks=pytest.mark.slow) for name in NAMES[2:]))
IN_PEFT = METHODS[:-1]
"""Full fine-tuning leaves a whole model, which is none of PEFT's adapters."""
Trained = Callable[[str], Path]


def logits(model: nn.Module, run: LoadedRun) -> Tensor:
    images = photos_of(run)
    with torch.inference_mode():
        result: Tensor = model(ToInput.of(run.preprocessing).eval()(images))
    return result


def photos_of(run: LoadedRun) -> Tensor:
    test = open_recipe_task(run.recipe).split("test")
    return decode_split(test, run.preprocessing, run.recipe.data).images


def true_labels(run: LoadedRun) -> Tensor:
    return torch.tensor(open_recipe_task(run.recipe).split("test").labels)


@pytest.mark.parametrize("method", METHODS)
def test_a_loaded_run_is_as_good_as_it_was(trained: Trained, method: str) -> None:
    run = load_run(trained(method))
    assert not run.model.training
    hits = logits(run.model, run).argmax(-1) == true_labels(run)
    assert hits.double().mean().item() == read_result(trained(method)).test_accuracy
    assert run.labels == ["blue", "green", "red", "white"]


@pytest.mark.parametrize(
    ("method", "form"),
    [
        ("arc", "checkpoint"),
        *(pytest.param(method, "local-dir", marks=pytest.mark.slow) for method in NAMES),
    ],
)
def test_a_merged_run_loads_in_plain_timm(
    trained: Trained, tmp_path: Path, method: str, form: str
) -> None:
    run = load_run(trained(method))
    expected = logits(run.model, run)
    if form == "checkpoint":
        difference = merge_run(run, tmp_path / "m.safetensors").difference
        sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
        plain = timm.create_model(
            "vit_tiny_patch16_224",
            num_classes=4,
            checkpoint_path=str(tmp_path / "m.safetensors"),
            **sizes,
        )
        assert (tmp_path / "m.json").is_file()
    else:
        difference = merge_run(run, tmp_path / "m").difference
        plain = timm.create_model(f"local-dir:{tmp_path / 'm'}", pretrained=True)
        assert plain.pretrained_cfg["label_names"] == run.labels
        config = timm.data.resolve_model_data_config(plain)
        assert config["input_size"] == (3, *run.preprocessing.size)
        assert tuple(config["mean"]) == run.preprocessing.mean
        assert tuple(config["std"]) == run.preprocessing.std
    assert difference <= 1e-5
    assert not any("arc" in name or "lora" in name for name in plain.state_dict())
    torch.testing.assert_close(logits(plain.eval(), run), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", IN_PEFT)
def test_plain_peft_gives_the_same_logits(trained: Trained, tiny: Path, method: str) -> None:
    run = load_run(trained(method))
    plain = timm.create_model(f"local-dir:{tiny}", pretrained=True, num_classes=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT, about adapters that are a head alone
        model = PeftModel.from_pretrained(plain, str(trained(method) / "adapter")).eval()
    assert torch.equal(logits(model, run), logits(run.model, run))


@pytest.mark.parametrize("method", ["arc", "linear", "lora"])
def test_another_backbone_is_refused_unless_forced(
    trained: Trained, tiny: Path, other_tiny: Path, method: str
) -> None:
    with pytest.raises(UserError) as caught:
        load_run(trained(method), backbone=str(other_tiny))
    assert f"{str(tiny)!r}" in str(caught.value)
    assert f"{str(other_tiny)!r}" in str(caught.value)
    assert "--force" in str(caught.value)
    forced = load_run(trained(method), backbone=str(other_tiny), force=True)
    own = load_run(trained(method))
    assert not torch.equal(logits(forced.model, own), logits(own.model, own))


def test_a_backbone_that_has_moved(trained: Trained, tiny: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(tiny, tmp_path / "moved")
    run = load_run(trained("arc"), backbone=str(moved))
    own = load_run(trained("arc"))
    assert torch.equal(logits(run.model, own), logits(own.model, own))


def test_a_full_run_brings_its_weights_along(trained: Trained, other_tiny: Path) -> None:
    own = load_run(trained("full"))
    elsewhere = load_run(trained("full"), backbone=str(other_tiny))
    assert torch.equal(logits(elsewhere.model, own), logits(own.model, own))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["arc", "lora", "full"])
def test_random_weights_are_drawn_again(
    arcvit: Callable[..., object], short_run: tuple[str, ...], tmp_path: Path, method: str
) -> None:
    flags = ("--weights=random", "--seed=5", f"--method={method}", f"--out={tmp_path / 'run'}")
    assert arcvit("train", *short_run, *flags).code == 0  # type: ignore[attr-defined]
    one, other = load_run(tmp_path / "run"), load_run(tmp_path / "run")
    expected = logits(one.model, one)
    assert torch.equal(logits(other.model, other), expected)
    hits = expected.argmax(-1) == true_labels(one)
    assert hits.double().mean().item() == one.result.test_accuracy
    assert merge_run(one, tmp_path / "m").difference <= 1e-5


@pytest.mark.slow
def test_other_input_size_goes_through_merge(
    trained: Trained,
    tiny: Path,
    arcvit: Callable[..., object],
    short_run: tuple[str, ...],
    tmp_path: Path,
) -> None:
    flags = ("--image_size=48", "--drop_path=0.1", f"--out={tmp_path / 'run'}")
    assert arcvit("train", *short_run, *flags).code == 0  # type: ignore[attr-defined]
    run = load_run(tmp_path / "run")
    expected = logits(run.model, run)
    merge_run(run, tmp_path / "m")
    plain = timm.create_model(f"local-dir:{tmp_path / 'm'}", pretrained=True).eval()
    torch.testing.assert_close(logits(plain, run), expected, rtol=1e-4, atol=1e-5)


def copied(trained: Trained, tmp_path: Path, method: str = "arc") -> Path:
    return Path(shutil.copytree(trained(method), tmp_path / "copy"))


def without_weights(run: Path) -> None:
    (run / "adapter" / "adapter_model.safetensors").unlink()


def with_cut_weights(run: Path) -> None:
    file = run / "adapter" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:200])


def with_damaged_config(run: Path) -> None:
    (run / "adapter" / "adapter_config.json").write_text("{")


def without_task(run: Path) -> None:
    (run / "adapter" / "task.json").unlink()


def without_adapter(run: Path) -> None:
    shutil.rmtree(run / "adapter")


def without_recipe(run: Path) -> None:
    (run / "recipe.yaml").unlink()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (without_weights, "adapter_model.safetensors isn't there: the adapter is damaged"),
        (with_cut_weights, "is damaged: expected a safetensors file"),
        (with_damaged_config, "adapter_config.json is damaged: expected JSON"),
        (without_task, "is not an adapter that arcvit saved: expected task.json in it"),
        (without_adapter, "adapter' isn't there: the run is damaged"),
        (without_recipe, "recipe.yaml' isn't there"),
    ],
)
def test_damaged_runs(
    trained: Trained, tmp_path: Path, damage: Callable[[Path], None], sentence: str
) -> None:
    run = copied(trained, tmp_path)
    damage(run)
    with pytest.raises(UserError) as caught:
        load_run(run)
    assert sentence in str(caught.value)


def test_neither_run_nor_adapter(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="isn't there: expected a folder that arcvit train wrote"):
        load_trained(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"is not a finished run: expected result\.json"):
        load_trained(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match=r"not an adapter that arcvit saved: expected task\.json"):
        load_trained(tmp_path)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_leaves_the_same_task(trained: Trained, tiny: Path, method: str) -> None:
    task, result = read_task(trained(method) / "adapter"), read_result(trained(method))
    assert task.labels == ["blue", "green", "red", "white"]
    assert task.head == "head"
    assert (task.backbone.name, task.backbone.fingerprint) == (
        str(tiny),
        result.backbone_fingerprint,
    )
    built = build_backbone(str(tiny), num_classes=4)
    assert tuple(task.preprocessing["size"]) == built.input_size
    assert task.results == {
        "task": "colours",
        "method": method,
        "val_accuracy": result.val_accuracy,
        "test_accuracy": result.test_accuracy,
        "metrics": result.metrics,
    }
