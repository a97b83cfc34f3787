from collections.abc import Callable
from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.core.metrics import write_metrics
from arcvit.data.config import DataConfig
from arcvit.engine.config import EngineConfig, OptimConfig
from arcvit.recipe.parser import write_recipe
from arcvit.recipe.recipe import Recipe
from arcvit.recipe.run_folder import check_run_folder, clean_up, differing_keys, flat

RECIPE = Recipe(data=DataConfig(path="p")).resolved()
OTHER = Recipe(
    data=DataConfig(path="p", preset="vtab"),
    optim=OptimConfig(lr=0.5),
    engine=EngineConfig(track=[]),
    seed=3,
)


def unfinished(run: Path) -> Path:
    write_recipe(run / "recipe.yaml", RECIPE)
    write_metrics(run, [{"epoch": 1}])
    return run


def finished(run: Path) -> Path:
    (unfinished(run) / "result.json").write_text("{}")
    return run


def with_other_files(run: Path) -> Path:
    run.mkdir()
    (run / "notes.txt").touch()
    return run


def a_file(run: Path) -> Path:
    run.touch()
    return run


def below_a_file(run: Path) -> Path:
    run.touch()
    return run / "deeper"


def started_only(run: Path) -> Path:
    write_recipe(run / "recipe.yaml", OTHER)
    return run


def empty(run: Path) -> Path:
    run.mkdir()
    return run


@pytest.mark.parametrize("make", [Path, empty, unfinished, started_only])
def test_folders_that_are_free(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    check_run_folder(make(tmp_path / "run"), RECIPE)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (finished, "already holds a finished run: choose another --out or remove it"),
        (with_other_files, "holds other files: expected a new folder or an unfinished run"),
        (a_file, "is a file, expected a folder or a new name"),
        (below_a_file, "is a file, expected a folder or a new name"),
    ],
)
def test_folders_that_are_taken(
    tmp_path: Path, make: Callable[[Path], Path], sentence: str
) -> None:
    with pytest.raises(UserError) as caught:
        check_run_folder(make(tmp_path / "run"), RECIPE)
    assert sentence in str(caught.value)


def test_another_recipe_is_refused_with_the_keys_that_differ(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        check_run_folder(unfinished(tmp_path / "run"), OTHER)
    assert "it differs in data.preset, optim.lr, engine.track, seed)" in str(caught.value)


def test_differing_keys_of_the_same_recipe(tmp_path: Path) -> None:
    assert differing_keys(unfinished(tmp_path / "run"), RECIPE) == []


def test_flat_keys() -> None:
    keys = flat(RECIPE)
    assert keys["data.path"] == "p"
    assert keys["seed"] == 0
    assert keys["engine.track"] == '["tensorboard"]'
    assert keys["data.workers"] is None


def test_clean_up_leaves_nothing_of_a_run_without_an_epoch(tmp_path: Path) -> None:
    run = started_only(tmp_path / "run")
    (run / "tensorboard").mkdir()
    clean_up(run)
    assert not run.exists()
    clean_up(run)


def test_clean_up_keeps_what_is_not_ours(tmp_path: Path) -> None:
    clean_up(with_other_files(tmp_path / "run"))
    assert (tmp_path / "run" / "notes.txt").exists()


def test_clean_up_keeps_a_run_with_epochs(tmp_path: Path) -> None:
    run = unfinished(tmp_path / "run")
    clean_up(run)
    assert sorted(path.name for path in run.iterdir()) == ["metrics.jsonl", "recipe.yaml"]
