import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.core.metrics import write_metrics
from arcvit.data.config import DataConfig
from arcvit.engine.config import EngineConfig, OptimConfig
from arcvit.recipe.parser import write_recipe
from arcvit.recipe.recipe import Recipe
from arcvit.recipe.run import Run, flat

RECIPE = Recipe(data=DataConfig(path="p")).resolved()
OTHER = Recipe(
    data=DataConfig(path="p", preset="vtab"),
    optim=OptimConfig(lr=0.5),
    engine=EngineConfig(track=["wandb"]),
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


def killed_at_its_first_file(run: Path) -> Path:
    run.mkdir()
    (run / ".recipe.yaml.partial-77.yaml").touch()
    (run / ".lock").touch()
    return run


@pytest.mark.parametrize("make", [Path, empty, unfinished, started_only, killed_at_its_first_file])
def test_folders_that_are_free(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    Run(RECIPE, make(tmp_path / "run")).check_free()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            finished,
            "holds a finished run: choose another --out, replace it with --overwrite",
        ),
        (with_other_files, "holds other files: expected a new folder or an unfinished run"),
        (a_file, "is a file, expected a folder or a new name"),
        (below_a_file, "is a file, expected a folder or a new name"),
    ],
)
def test_folders_that_are_taken(
    tmp_path: Path, make: Callable[[Path], Path], sentence: str
) -> None:
    with pytest.raises(UserError) as caught:
        Run(RECIPE, make(tmp_path / "run")).check_free()
    assert sentence in str(caught.value)


def test_another_recipe_is_refused_with_the_keys_that_differ(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        Run(OTHER, unfinished(tmp_path / "run")).check_free()
    assert "it differs in data.preset, optim.lr, engine.track, seed)" in str(caught.value)


def test_differing_keys_of_the_same_recipe(tmp_path: Path) -> None:
    assert Run(RECIPE, unfinished(tmp_path / "run")).differing_keys() == []


def test_flat_keys() -> None:
    keys = flat(RECIPE)
    assert keys["data.path"] == "p"
    assert keys["seed"] == 0
    assert keys["engine.track"] == "[]"
    assert keys["data.workers"] is None


def test_clean_up_leaves_nothing_of_a_run_without_an_epoch(tmp_path: Path) -> None:
    run = started_only(tmp_path / "run")
    (run / "tensorboard").mkdir()
    (run / "checkpoint" / ".epoch-1.partial-shared").mkdir(parents=True)
    Run(RECIPE, run).clean_up()
    assert list(run.iterdir()) == []
    run.rmdir()
    Run(RECIPE, run).clean_up()


def test_clean_up_keeps_what_is_not_ours(tmp_path: Path) -> None:
    Run(RECIPE, with_other_files(tmp_path / "run")).clean_up()
    assert (tmp_path / "run" / "notes.txt").exists()


def test_clean_up_keeps_a_run_with_epochs(tmp_path: Path) -> None:
    run = unfinished(tmp_path / "run")
    Run(RECIPE, run).clean_up()
    assert sorted(path.name for path in run.iterdir()) == ["metrics.jsonl", "recipe.yaml"]


def test_a_finished_run_of_other_settings_is_not_counted_with_these(tmp_path: Path) -> None:
    folder = finished(tmp_path / "run")
    Run(RECIPE, folder).check_same()
    with pytest.raises(UserError, match=r"they differ in data\.preset, optim\.lr,"):
        Run(OTHER, folder).check_same()


def test_a_run_is_a_value_that_pickles() -> None:
    run = Run(Recipe(data=DataConfig(path="p")), Path("runs/p"), read_test=False)
    assert run.recipe == RECIPE
    assert pickle.loads(pickle.dumps(run)) == run
