"""A run starts where another one ended, class by class."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from arcvit.core.errors import UserError
from arcvit.core.result import read_result
from arcvit.data.config import DataConfig
from arcvit.recipe.load import load_run
from arcvit.recipe.parser import read_recipe
from arcvit.recipe.prepare import Workplace, open_recipe_task, prepare
from arcvit.recipe.recipe import Recipe
from arcvit.recipe.warm import start_from

Trained = Callable[[str], Path]


def begun(recipe: Recipe, source: Path) -> tuple[Workplace, list[str]]:
    said: list[str] = []
    work = prepare(recipe, open_recipe_task(recipe), lambda line: None)
    start_from(str(source), work, recipe, said.append)
    return work, said


def head_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {
        name.rpartition("head.")[2].replace("modules_to_save.default.", ""): tensor
        for name, tensor in model.state_dict().items()
        if ".head." in f".{name}" and "original_module" not in name
    }


@pytest.mark.parametrize(("method", "part"), [("arc", ""), ("full", "adapter")])
def test_it_starts_with_what_was_learned(trained: Trained, method: str, part: str) -> None:
    run = trained(method)
    work, said = begun(read_recipe(run / "recipe.yaml"), run / part)
    there = load_run(run).model.state_dict()
    here = work.model.state_dict()
    assert all(torch.equal(here[key], value) for key, value in there.items())
    assert said == [f"starts from {run / part}: 4 of 4 classes were known"]


def test_rows_of_the_head_go_by_the_names_of_classes(
    trained: Trained, photos: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(photos, tmp_path / "data")
    for split in ("train", "val", "test"):
        (data / split / "blue").rename(data / split / "yellow")  # now the last of the classes
    run = trained("arc")
    recipe = read_recipe(run / "recipe.yaml")
    recipe = dataclasses.replace(recipe, data=DataConfig(path=str(data)))
    work, said = begun(recipe, run)
    assert said == [f"starts from {run}: 3 of 4 classes were known; new: yellow; left out: blue"]
    there, here = head_of(load_run(run).model), head_of(work.model)
    assert set(there) == {"weight", "bias"}
    for name, rows in there.items():
        assert torch.equal(here[name][:3], rows[1:])
        assert not here[name][3].any()


def other_method(recipe: Recipe) -> Recipe:
    return Recipe(data=recipe.data, backbone=recipe.backbone, method="lora")


def other_rank(recipe: Recipe) -> Recipe:
    return dataclasses.replace(recipe, options=recipe.spec.make_options({"r": 4}))


def whole(recipe: Recipe) -> Recipe:
    return Recipe(data=recipe.data, backbone=recipe.backbone, method="full")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (other_method, "holds what arc learned, and this run trains lora (of another kind)"),
        (other_rank, "this run trains arc (r is 8 there and 4 here): expected the same --method"),
        (whole, "this run trains full (not an adapter)"),
    ],
)
def test_another_method_is_refused(
    trained: Trained, change: Callable[[Recipe], Recipe], sentence: str
) -> None:
    run = trained("arc")
    with pytest.raises(UserError) as caught:
        begun(change(read_recipe(run / "recipe.yaml")), run)
    assert sentence in str(caught.value)


def test_another_backbone_and_no_run_are_refused(
    trained: Trained, other_tiny: Path, tmp_path: Path
) -> None:
    run = trained("arc")
    recipe = read_recipe(run / "recipe.yaml")
    with pytest.raises(UserError, match="expected the same --backbone"):
        begun(dataclasses.replace(recipe, backbone=str(other_tiny)), run)
    with pytest.raises(UserError, match="is neither a finished run nor an adapter"):
        begun(recipe, tmp_path)


@pytest.mark.slow
def test_from_the_command_line(
    arcvit: Callable[..., object], short_run: tuple[str, ...], trained: Trained, tmp_path: Path
) -> None:
    source, out = trained("linear"), tmp_path / "run"
    command = ("train", *short_run, "--method=linear", f"--init_from={source}", f"--out={out}")
    # Nothing is learned at such a rate: it answers as it did.
    assert arcvit(*command, "--optim.lr=1e-30").code == 0  # type: ignore[attr-defined]
    assert read_result(out).test_accuracy == read_result(source).test_accuracy
    assert read_recipe(out / "recipe.yaml").init_from == str(source)
