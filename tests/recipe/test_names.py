from collections.abc import Callable
from pathlib import Path

import pytest

from arcvit.core.metrics import write_metrics
from arcvit.data.config import DataConfig
from arcvit.recipe.export import name_of
from arcvit.recipe.names import run_folder, run_name
from arcvit.recipe.parser import write_recipe
from arcvit.recipe.recipe import Recipe

RECIPE = Recipe(data=DataConfig(path="some/photos")).resolved()
OTHER = Recipe(data=DataConfig(path="some/photos"), seed=3).resolved()


def unfinished(run: Path, recipe: Recipe = RECIPE) -> None:
    write_recipe(run / "recipe.yaml", recipe)
    write_metrics(run, [{"epoch": 1}])


def finished(run: Path) -> None:
    unfinished(run)
    (run / "result.json").write_text("{}")


def of_another_recipe(run: Path) -> None:
    unfinished(run, OTHER)


def of_another_just_begun(run: Path) -> None:
    write_recipe(run / "recipe.yaml", OTHER)


def damaged(run: Path) -> None:
    unfinished(run)
    (run / "recipe.yaml").write_text("{")


def with_other_files(run: Path) -> None:
    run.mkdir(parents=True)
    (run / "notes.txt").touch()


TAKEN = [finished, of_another_recipe, of_another_just_begun, damaged, with_other_files]


@pytest.mark.parametrize("taken", TAKEN)
def test_a_name_that_is_taken_gets_a_number(tmp_path: Path, taken: Callable[[Path], None]) -> None:
    taken(tmp_path / "photos-arc-demo")
    assert run_folder(RECIPE, tmp_path) == tmp_path / "photos-arc-demo-2"
    finished(tmp_path / "photos-arc-demo-2")
    assert run_folder(RECIPE, tmp_path) == tmp_path / "photos-arc-demo-3"


@pytest.mark.parametrize("free", [unfinished, Path.mkdir])
def test_an_unfinished_run_of_the_recipe_is_gone_on_with(
    tmp_path: Path, free: Callable[[Path], None]
) -> None:
    free(tmp_path / "photos-arc-demo")
    assert run_folder(RECIPE, tmp_path) == tmp_path / "photos-arc-demo"


def test_where_nothing_can_be_made_the_run_says_so_itself(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    assert run_folder(RECIPE, tmp_path / "runs").name == "photos-arc-demo"


@pytest.mark.parametrize(
    ("backbone", "name"),
    [
        ("vit_base_patch16_224.augreg_in21k", "photos-arc-vit_base_patch16_224_augreg_in21k"),
        ("models/tiny/", "photos-arc-tiny"),
        ("hf-hub:USER/NAME@REV", "photos-arc-NAME_REV"),
    ],
)
def test_the_backbone_is_in_the_name(backbone: str, name: str) -> None:
    assert run_name(Recipe(data=DataConfig(path="photos"), backbone=backbone)) == name


@pytest.mark.parametrize("place", ["pets", "pets/", "pets/adapter", "pets/x/..", "USER/pets"])
def test_a_run_is_called_by_its_folder(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert name_of(place) == "pets"
    (tmp_path / "pets").mkdir()
    monkeypatch.chdir(tmp_path / "pets")
    assert name_of(".") == name_of("adapter") == "pets"
