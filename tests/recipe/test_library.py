"""Recipes that ship, and recipes that extend others."""

from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.data.catalogue import suite_tasks
from arcvit.recipe.library import recipe_values, shipped_recipes
from arcvit.recipe.parser import parse_recipe

ROOT = Path(recipe_values.__code__.co_filename).parent / "recipes"


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_recipe_loads(name: str) -> None:
    recipe = parse_recipe(["--data.path=x"], recipe_values(name))
    assert recipe.engine.epochs == 100
    assert recipe.data.fit_on == "trainval"
    assert recipe.data.preset == name.partition("/")[0]
    head = (ROOT / f"{name}.yaml").read_text()
    for part in ("# Command: arcvit ", "# Expected: ", "# Source: ", "extends: "):
        assert part in head


def test_which_recipes_there_are() -> None:
    vtab = [task.name for task in suite_tasks("vtab")]
    expected = ["fgvc/vit_b16", "vtab/vit_b16", "vtab/swin_b", "vtab/vit_l16", "vtab/vit_h14"]
    expected += ["vtab/vit_b16_plus"]
    expected += [f"fgvc/vit_b16/{task.name}" for task in suite_tasks("fgvc")]
    expected += [f"vtab/{backbone}/{task}" for backbone in ("vit_b16", "swin_b") for task in vtab]
    assert sorted(shipped_recipes()) == sorted(expected)


def test_the_authors_settings() -> None:
    swin = parse_recipe([], recipe_values("vtab/swin_b/dtd"))
    assert (swin.optim.lr, swin.optim.weight_decay, swin.options.arc_dropout) == (0.005, 0.05, 0.8)
    assert (swin.drop_path, swin.backbone) == (0.1, "swin_base_patch4_window7_224.ms_in22k")
    cars = parse_recipe([], recipe_values("fgvc/vit_b16/StanfordCars"))
    assert (cars.optim.lr, cars.optim.weight_decay) == (0.005, 0.05)
    assert (cars.options.arc_dropout, cars.drop_path) == (0, 0.1)


def test_a_shipped_recipe_by_name() -> None:
    recipe = parse_recipe(["--config", "vtab/vit_b16/cifar", "--engine.epochs=3"])
    assert (recipe.optim.lr, recipe.engine.epochs) == (0.01, 3)


def test_extending(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("extends: b.yaml\noptim: {lr: 0.5}\n")
    (tmp_path / "b.yaml").write_text("extends: vtab/vit_l16\noptim: {weight_decay: 0.1}\n")
    recipe = parse_recipe(["--data.path=x"], recipe_values(tmp_path / "a.yaml"))
    assert recipe.backbone == "vit_large_patch16_224.orig_in21k"
    assert (recipe.optim.lr, recipe.optim.weight_decay) == (0.5, 0.1)


WRONG = [
    ("extends: vtab/vit_b16\noptim: {lrr: 1}\n", "no key 'optim.lrr' in a recipe. Did you mean"),
    (
        "extends: vtab/vit_b16\nbackbon: x\n",
        "no key 'backbon' in a recipe. Did you mean 'backbone'",
    ),
    ("extends: vtab/vit_b17\n", "which isn't there: expected a file beside it"),
    ("extends: vtab/vit_b17\n", "Did you mean 'vtab/vit_b16'"),
    ("extends: a.yaml\n", "extends itself"),
]


@pytest.mark.parametrize(("text", "sentence"), WRONG)
def test_wrong_recipes(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        parse_recipe([f"--config={file}", "--data.path=x"])
    assert sentence in str(caught.value)
