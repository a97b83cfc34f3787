import re
from pathlib import Path

import pytest
import yaml

from arcvit.core.errors import UserError
from arcvit.data.config import DataConfig
from arcvit.engine.config import EngineConfig, OptimConfig
from arcvit.methods.lora import LoraOptions
from arcvit.methods.table import methods
from arcvit.recipe.few_shots import count_images
from arcvit.recipe.help import OFTEN, recipe_help
from arcvit.recipe.keys import known_keys
from arcvit.recipe.parser import parse_recipe, read_recipe, recipe_to_yaml, write_recipe
from arcvit.recipe.recipe import Recipe


def parse(*arguments: str) -> Recipe:
    return parse_recipe(arguments)


def config(tmp_path: Path, text: str) -> str:
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    return f"--config={file}"


def test_a_newcomer_gives_the_path_alone() -> None:
    assert parse("--data.path=photos") == Recipe(data=DataConfig(path="photos")).resolved()


@pytest.mark.parametrize("method", methods())
def test_each_method_has_its_learning_rate(method: str) -> None:
    assert parse("--data.path=p", f"--method={method}").optim.lr == methods()[method].lr
    assert parse("--data.path=p", f"--method={method}", "--optim.lr=0.3").optim.lr == 0.3


FLAGS = [
    ("--seed=7", "seed", 7),
    ("--arc.r=3", "options.r", 3),
    ("--arc.adapter_bias=false", "options.adapter_bias", False),
    ("--arc.rank_pattern={norm1: 4}", "options.rank_pattern", {"norm1": 4}),
    ("--arc.layers_to_transform=[0, 1]", "options.layers_to_transform", [0, 1]),
    ("--method=arc:share=none", "options.share", "none"),
    ("--method=arc_att", "options.variant", "arc_att"),
    ("--method=arc:variant=arc_att", "method", "arc_att"),
    ("--method=lora:targets=[qkv, fc2]:r=2", "options.targets", ["qkv", "fc2"]),
    ("--method=arc:optim.weight_decay=1e-2", "optim.weight_decay", 0.01),
    ("--optim.lr=1e-3", "optim.lr", 1e-3),
    ("--optim.head_lr=0", "optim.head_lr", 0),
    ("--engine.track=[]", "engine.track", []),
    ("--engine.track=[wandb,mlflow]", "engine.track", ["wandb", "mlflow"]),
    ("--engine.keep_checkpoint=true", "engine.keep_checkpoint", True),
    ("--data.memory_gb=0.5", "data.memory_gb", 0.5),
    ("--image_size=96", "image_size", 96),
    ("--data.cache_dir=null", "data.cache_dir", None),
]


@pytest.mark.parametrize(("flag", "key", "value"), FLAGS)
def test_every_field_is_a_flag(flag: str, key: str, value: object) -> None:
    found: object = parse("--data.path=p", flag)
    for name in key.split("."):
        found = getattr(found, name)
    assert found == value


def test_flags_override_yaml_which_overrides_defaults(tmp_path: Path) -> None:
    text = "data: {path: photos}\nseed: 3\noptim: {lr: 0.1, warmup: 0.5}\n"
    recipe = parse(config(tmp_path, text), "--optim.lr=0.2")
    assert (recipe.seed, recipe.optim.lr, recipe.optim.warmup) == (3, 0.2, 0.5)
    assert recipe.optim.clip_grad == OptimConfig().clip_grad


def test_yaml_is_complete_and_comes_back(tmp_path: Path) -> None:
    recipe = Recipe(
        data=DataConfig(path="photos", preset="vtab", workers=2),
        method="lora",
        options=LoraOptions(targets=["qkv"]),
        optim=OptimConfig(lr=1e-5, projection_lr=0.5, coefficients_lr=1.0),
        engine=EngineConfig(track=[], precision="bf16"),
        metric="macro_f1",
        image_size=64,
        seed=5,
    )
    write_recipe(tmp_path / "deep" / "recipe.yaml", recipe)
    assert read_recipe(tmp_path / "deep" / "recipe.yaml") == recipe
    assert yaml.safe_load(recipe_to_yaml(recipe)) == recipe.to_dict()
    assert "arc" not in recipe.to_dict()


def test_print_config_is_a_complete_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse("--data.path=photos", "--seed=4", "--print_config")
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert set(yaml.safe_load(printed)) == {*Recipe.__dataclass_fields__, "arc"} - {"options"}
    assert parse(config(tmp_path, printed)) == parse("--data.path=photos", "--seed=4")


PATH = "data: {path: p}\n"
WRONG_FLAGS = [
    ("--data.pth=x", "there is no flag '--data.pth'. Did you mean 'data.path'"),
    ("--epochs=3", "there is no flag '--epochs'. Did you mean 'engine.epochs'?"),
    ("--optim.lrr=3", "there is no flag '--optim.lrr'. Did you mean 'optim.lr'"),
    ("--zzzzzz=3", "there is no flag '--zzzzzz'. arcvit train --help_all lists"),
    ("stray", "'stray' is not expected here: every value follows a flag"),
    (
        "--method=arcc",
        "method is 'arcc': expected one of linear, bitfit, lnorm, lora, vera, vpt,",
    ),
    ("--method=arcc", "Did you mean 'arc' or 'arc_att' or 'arc_plus'?"),
    ("--optim.class_weights=balanced", "is 'balanced': expected one of auto or keys and values"),
    ("--optim.class_weights={no: 2}", "as {a: 1}. YAML takes a name for False: put it in quotes."),
    ("--optim.class_weights={a: 0}", "optim.class_weights.a is 0: expected a number above 0"),
    ("--metric=f1", "metric is 'f1': expected one of accuracy, balanced_accuracy, macro_f1"),
    ("--data.shots=0", "data.shots is 0: expected a whole number at least 1"),
    ("--arc.r=a", "arc.r is 'a': expected a whole number."),
    ("--arc.r=1.5", "arc.r is '1.5': expected a whole number."),
    ("--arc.r=0", "arc.r=0 is not a bottleneck width: expected an integer from 1"),
    ("--arc.arc_dropout=1", "arc.arc_dropout=1.0 is out of range"),
    ("--arc=3", "arc is a section: expected keys of their own (r, variant, sites, arc_dropout,"),
    ("--arc.share=rolle", "arc.share is 'rolle': expected one of role, all, none. Did you mean"),
    ("--arc.rank_pattern={a: b}", "arc.rank_pattern is '{a: b}': expected keys and values"),
    ("--method=arc:shr=none", "arc has no setting 'shr': expected some of r, variant,"),
    ("--method=arc:share", "expected settings as arc:KEY=VALUE"),
    ("--method=arc:share=x", "arc.share is 'x': expected one of role, all, none."),
    ("--method=arc_att:variant=arc", "but arc_att stands for 'arc_att': take it out"),
    ("--method=linear:r=3", "linear has no setting 'r'"),
    ("--method=peft:nowhere.yaml", "peft:nowhere.yaml: there is no such file"),
    ("--data=photos", "data is a section: expected keys of their own (path, preset"),
    ("--lora.r=0", "lora.r is 0"),
    ("--lora.alpha=0", "lora.alpha is 0"),
    ("--lora.dropout=-0.1", "lora.dropout is -0.1"),
    ("--optim.lr=a", "optim.lr is 'a': expected a number."),
    ("--optim.lr=0", "optim.lr is 0.0: expected a number above 0."),
    ("--optim.lr=-1", "optim.lr is -1.0: expected a number above 0."),
    ("--optim.lr=.inf", "optim.lr is inf: expected a finite number above 0."),
    ("--optim.lr=.nan", "optim.lr is nan: expected a finite number above 0."),
    ("--optim.lr", "--optim.lr has no value after it: expected a number."),
    ("--optim.weight_decay=-1", "optim.weight_decay is -1.0: expected a number at least 0."),
    ("--optim.warmup=1.1", "optim.warmup is 1.1: expected a number at least 0 and at most 1."),
    ("--optim.clip_grad=-1", "optim.clip_grad is -1.0"),
    ("--optim.head_lr=-1", "optim.head_lr is -1.0"),
    ("--engine.epochs=0", "engine.epochs is 0: expected a whole number at least 1."),
    ("--engine.batch_size=0", "engine.batch_size is 0"),
    ("--engine.accumulate=0", "engine.accumulate is 0"),
    ("--engine.label_smoothing=1", "engine.label_smoothing is 1.0"),
    ("--engine.validate_every=-1", "engine.validate_every is -1"),
    ("--engine.checkpoint_every=-1", "engine.checkpoint_every is -1"),
    ("--engine.keep_checkpoint=maybe", "engine.keep_checkpoint is 'maybe': expected true or false"),
    (
        "--engine.precision=fp8",
        "engine.precision is 'fp8': expected one of auto, fp32, bf16, fp16.",
    ),
    ("--engine.device=gpu", "engine.device is 'gpu': expected one of auto, cpu, cuda, mps."),
    ("--engine.track=[tensorbord]", "each one of tensorboard, wandb, mlflow."),
    ("--engine.track=wandb", "engine.track is 'wandb': expected a list"),
    ("--data.preset=vtb", "data.preset is 'vtb': expected one of vtab, vtab-raw"),
    ("--data.preset=vtb", "Did you mean 'vtab' or 'vtab-raw'?"),
    ("--data.on_bad=skp", "data.on_bad is 'skp': expected one of error, skip. Did you mean 'skip'"),
    ("--data.fit_on=test", "data.fit_on is 'test': expected one of train, trainval."),
    ("--data.memory_gb=0", "data.memory_gb is 0.0: expected a number above 0."),
    ("--data.val_fraction=1", "data.val_fraction is 1.0"),
    ("--data.test_fraction=-1", "data.test_fraction is -1.0"),
    ("--data.workers=0", "data.workers is 0"),
    ("--data.split_seed=-1", "data.split_seed is -1"),
    ("--seed=x", "seed is 'x': expected a whole number."),
    ("--seed=-1", "seed is -1: expected a whole number at least 0"),
    ("--image_size=0", "image_size is 0: expected a whole number at least 1."),
    ("--drop_path=1", "drop_path is 1.0: expected a number at least 0 and below 1."),
    (
        "--config=nowhere.yaml",
        "'nowhere.yaml' isn't there: expected a YAML file or a shipped recipe",
    ),
]


@pytest.mark.parametrize(("flag", "sentence"), WRONG_FLAGS)
def test_wrong_flags(flag: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        parse("--data.path=p", flag)
    said = str(caught.value)
    assert sentence in said
    for leaked in ("typing.", "<class", "NoneType", "Parser key", "\n"):
        assert leaked not in said


WRONG_YAML = [
    (PATH + "optm: {lr: 1}\n", "there is no key 'optm.lr' in a recipe. Did you mean 'optim.lr'?"),
    (
        PATH + "optim: {lrr: 1}\n",
        "there is no key 'optim.lrr' in a recipe. Did you mean 'optim.lr'",
    ),
    (
        "data: {path: p, pth: q}\n",
        "there is no key 'data.pth' in a recipe. Did you mean 'data.path'",
    ),
    (PATH + "optim: 3\n", "optim is 3: expected keys of their own (lr, "),
    (PATH + "engine: {epochs: a}\n", "engine.epochs is 'a': expected a whole number."),
    (PATH + "engine: {epochs: 0}\n", "engine.epochs is 0: expected a whole number at least 1."),
    (PATH + "method: arcc\n", "method is 'arcc': expected one of linear"),
    (PATH + "seed: null\n", "seed is null: expected a whole number."),
    ("data: {path: 3}\n", "data.path is 3: expected text."),
    ("data: photos\n", "data is 'photos': expected keys of their own"),
    ("data: {preset: vtab}\n", "data.path is missing: give the images, as arcvit train PHOTOS"),
    ("", "recipe.yaml is empty: expected keys"),
    ("[1, 2]\n", "recipe.yaml holds '[1, 2]': expected keys"),
    ("a: b: c\n", "recipe.yaml isn't YAML (mapping values are not allowed"),
]


@pytest.mark.parametrize(("text", "sentence"), WRONG_YAML)
def test_wrong_yaml(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(config(tmp_path, text))
    said = str(caught.value)
    assert sentence in said
    for leaked in ("typing.", "<class", "NoneType", "Parser key", "\n"):
        assert leaked not in said


def test_no_path_at_all() -> None:
    with pytest.raises(UserError, match=r"data\.path is missing: give the images, as arcvit train"):
        parse("--method=arc")


def test_a_recipe_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.yaml' isn't there"):
        read_recipe(tmp_path / "nothing.yaml")


def test_a_damaged_recipe_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(PATH + "methd: arc\n")
    with pytest.raises(UserError, match=r"in .*recipe\.yaml: there is no key 'methd'.*'method'"):
        read_recipe(tmp_path / "recipe.yaml")


WRONG_IN_PYTHON = [
    (lambda: Recipe(data=DataConfig(path="p"), method="arcc"), "method is 'arcc'"),
    (lambda: DataConfig(path=Path("p")), "data.path is PosixPath"),
    (lambda: EngineConfig(epochs="3"), "engine.epochs is '3'"),
    (lambda: Recipe(data="photos"), "data is 'photos': expected keys of their own"),
    (
        lambda: Recipe(
            data=DataConfig(path="p"), method="lora", options=LoraOptions(targets="qkv")
        ),
        "lora.targets is 'qkv'",
    ),
]


@pytest.mark.parametrize(("make", "sentence"), WRONG_IN_PYTHON)
def test_configs_made_in_python_are_checked_too(make: object, sentence: str) -> None:
    assert callable(make)
    with pytest.raises(UserError) as caught:
        make()
    assert sentence in str(caught.value)


def test_the_help_says_what_every_flag_takes() -> None:
    text = " ".join(recipe_help("all").split())
    for said in (
        "--data.path a folder of class folders",
        "--arc.share ablation: one projection",
        "(one of role, all, none; default: role)",
        "--lora.r rank. (a whole number at least 1; default: 8)",
        "(a list, as [a, b]; default: [qkv, fc1])",
        "at least 1)",  # of --image_size, which has no default
        "adaptformer 0.002 a bottleneck of 64 beside every MLP",
    ):
        assert said in text
    assert [key for key in known_keys() if f"--{key} " not in text] == []


def test_the_short_help_shows_what_is_set_often_and_names_the_groups() -> None:
    text = recipe_help(None)
    assert [key for key in OFTEN if f"--{key} " not in text.replace("\n", " ")] == []
    assert "--engine.accumulate" not in text
    assert len(text.splitlines()) < 50
    groups = re.findall(r"^  (\w+) +", text.rpartition("--help GROUP")[2], re.MULTILINE)
    for group in groups:
        assert recipe_help(group).count("\n") > 1
    assert {"methods", "optim", "arc"} <= set(groups)
    with pytest.raises(UserError, match=r"no group 'optm'.*Did you mean 'optim'"):
        recipe_help("optm")


@pytest.mark.parametrize(
    ("flags", "method", "multiple"),
    [
        (("--method=arc",), "arc", 1),
        (("--method=arc_plus",), "arc_plus", 30),
        (("--method=arc:variant=arc_plus",), "arc_plus", 30),
        (("--arc.variant=arc_plus",), "arc_plus", 30),
        (("--method=arc_plus", "--optim.coefficients_lr=2"), "arc_plus", 2),
        (("--arc.variant=arc_att",), "arc_att", 1),
        (("--method=lora",), "lora", 1),
    ],
)
def test_a_variant_has_its_own_name_and_rates_however_it_is_chosen(
    flags: tuple[str, ...], method: str, multiple: float
) -> None:
    recipe = parse("--data.path=p", *flags)
    assert (recipe.method, recipe.optim.coefficients_lr) == (method, multiple)


def test_a_variant_has_defaults_of_its_own_that_can_be_set() -> None:
    plus = parse("--data.path=p", "--method=arc_plus").options
    assert (plus.r, plus.sites, plus.projection_init) == (39, "both", "activations")
    plus = parse("--data.path=p", "--method=arc_plus:r=50:projection_init=xavier").options
    assert (plus.r, plus.sites, plus.projection_init) == (50, "both", "xavier")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--method=linear",), (30, "preset")),
        (("--method=linear", "--data.shots=4"), (100, "none")),
        (("--method=linear", "--data.shots=17"), (30, "preset")),
        (("--method=linear", "--data.shots=4", "--engine.epochs=7"), (7, "none")),
        (("--method=linear", "--data.shots=4", "--data.augment=flip"), (100, "flip")),
        (("--method=arc", "--data.shots=4"), (30, "preset")),
    ],
)
def test_few_shots_have_defaults_that_flags_override(
    flags: tuple[str, ...], expected: tuple[int, str]
) -> None:
    recipe = parse_recipe(["--data.path=photos", *flags])
    assert (recipe.engine.epochs, recipe.data.augment) == expected


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ((), (100, "none")),
        (("--folds=2",), (30, "preset")),  # 12 + 6 images of a class
        (("--data.fit_on=trainval",), (30, "preset")),
        (("--engine.epochs=7",), (7, "none")),
        (("--data.augment=flip",), (100, "flip")),
        (("--data.preset=vtab",), (30, "preset")),
        (("--data.shots=17",), (30, "preset")),
        (("--method=arc",), (30, "preset")),
    ],
)
def test_few_images_have_those_of_few_shots(
    photos: Path, flags: tuple[str, ...], expected: tuple[int, str]
) -> None:
    given = [f"--data.path={photos}", "--method=linear", *flags]
    recipe = parse_recipe(given, count=count_images)
    assert (recipe.engine.epochs, recipe.data.augment) == expected
    assert parse_recipe(given).data.augment in ("preset", "flip")  # of a bench, and of a recipe


def test_names_of_classes_may_be_numbers(tmp_path: Path) -> None:
    recipe = parse_recipe(["--data.path=photos", "--optim.class_weights={1: 2, rust: 0.5}"])
    assert recipe.optim.class_weights == {"1": 2, "rust": 0.5}
    file = tmp_path / "recipe.yaml"
    file.write_text(recipe_to_yaml(recipe))
    assert read_recipe(file) == recipe
