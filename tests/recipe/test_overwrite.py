import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from arcvit.core.errors import UserError
from arcvit.core.result import read_result
from arcvit.recipe import overwrite as module
from arcvit.recipe.execute import execute
from arcvit.recipe.overwrite import overwrite
from arcvit.recipe.parser import read_recipe
from arcvit.recipe.run import Run

Trained = Callable[[str], Path]


@pytest.fixture
def old(trained: Trained, tmp_path: Path) -> Path:
    """A finished run of seed 0."""
    return shutil.copytree(trained("linear"), tmp_path / "run")


@pytest.fixture
def run(old: Path) -> Run:
    """The same with seed 1."""
    recipe = read_recipe(old / "recipe.yaml")
    return Run(dataclasses.replace(recipe, seed=1), old)


def overwritten(run: Run) -> int:
    result = overwrite(run, Console(), quiet=True)
    assert result == read_result(run.folder)
    assert [path.name for path in run.folder.parent.iterdir()] == [run.folder.name]
    return result.seed


def test_the_old_run_stays_until_the_new_one_stands(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def renames_nothing(*paths: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(module, "put_in_place", renames_nothing)
        overwrite(run, Console(), quiet=True)
    assert read_result(run.folder).seed == 0
    assert read_result(run.folder.with_name("run.new")).seed == 1
    with monkeypatch.context() as patched:
        patched.setattr(module, "execute", None)  # it needn't be trained again
        assert overwritten(run) == 1


@pytest.mark.slow
def test_a_forgotten_new_run_of_another_recipe_is_not_taken(run: Run) -> None:
    shutil.copytree(run.folder, run.folder.with_name("run.new"))
    assert overwritten(run) == 1


def test_a_new_folder_and_one_that_is_no_run(run: Run, tmp_path: Path) -> None:
    shutil.rmtree(run.folder)
    assert overwritten(run) == 1
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").touch()
    with pytest.raises(UserError, match="holds other files, expected a run"):
        overwrite(dataclasses.replace(run, folder=tmp_path / "photos"), Console())
    with pytest.raises(UserError, match="replace it with --overwrite"):
        execute(run, Console())
