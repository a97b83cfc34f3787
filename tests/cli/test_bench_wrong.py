"""What ``arcvit bench`` refuses, in one sentence and before anything runs."""

from collections.abc import Callable
from pathlib import Path

import pytest

Arcvit = Callable[..., object]


@pytest.fixture(scope="module")
def root(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks of the same photos, and a suite of them."""
    folder = tmp_path_factory.mktemp("suite")
    for name in ("one", "two"):
        (folder / name).symlink_to(photos)
    tasks = "".join(f"  - {{name: {name}, path: {name}, group: g}}\n" for name in ("one", "two"))
    (folder / "mine.yaml").write_text(f"tasks:\n{tasks}")
    return folder


WRONG = [
    (["--jobs=0"], "--jobs is 0: expected a number of runs at once, 1 or more."),
    (["--out=s3://bucket/runs"], "--out s3:/bucket/runs is an address: expected a folder"),
    (["--ray.num_gpus=1"], "--ray.num_gpus needs --executor ray."),
    (["--methods=arc,arc:r=2,arc:r= 2"], "arc:r=2 and arc:r=2 would be one row"),
    (["--methods=arc_att,arc:variant=arc_att"], "arc_att and arc_att would be one row"),
    (["--methods=arc:rr=2"], "arc has no setting 'rr': expected some of r, variant,"),
    (["--methods=arc:optim.lrr=2"], "no key 'optim.lrr' in a recipe. Did you mean 'optim.lr'"),
    (["--methods=arc:share=some"], "arc.share is 'some': expected one of role, all, none."),
    (["--backbones=a,b", "--backbone=c"], "--backbone is the bench's own"),
    (["--settings=nowhere.yaml"], "--settings 'nowhere.yaml' isn't there: arcvit report writes"),
    (["--settings=x.yaml", "--search=wide"], "--settings takes the place of a search"),
    (["--methods=arcc"], "--methods is 'arcc': expected one of"),
    (["--methods=arcc"], "Did you mean 'arc'"),
    (["--seeds=a"], "--seeds names 'a': expected whole numbers"),
    (["--seeds=1,1"], "expected different names"),
    (["--seeds=1,01"], "--seeds is '1,01': expected different numbers"),
    (["--search_seeds="], "--search_seeds is '': expected different names"),
    (["--tasks=three"], "suite mine has no task 'three': expected one, two."),
    (["--engine.epoks=3"], "there is no flag '--engine.epoks'. Did you mean 'engine.epochs'"),
    (["--optim.lr=1"], "--optim.lr fixes what is searched: give --search none"),
    (["--optim.weight_decay=0", "--search=wide"], "--optim.weight_decay fixes what is searched"),
    (["--data.path=x"], "--data.path is the bench's own"),
    (["--seed=3"], "--seed is the bench's own"),
    (["--search=gird"], "--search 'gird' isn't there: expected grid, wide, none or a YAML file"),
    (["--search=gird"], "Did you mean 'grid'"),
    (["--data.root=nowhere"], "--data.root nowhere isn't there: expected the folder of the tasks."),
    (["--recipe=vtab/vit_b"], "recipe 'vtab/vit_b' isn't there"),
    (["--recipe=vtab/vit_b"], "Did you mean 'vtab/vit_b16'"),
    (["--dry_run", "--device=h10"], "--device 'h10' isn't known: expected b200, h200, h100"),
    (["--search_seeds=x"], "--search_seeds names 'x': expected whole numbers"),
    (["--search_folds=1"], "--search_folds is 1: expected a whole number of at least 2"),
    (["--extend_rates=-1"], "--extend_rates is -1: expected a whole number of at least 0"),
    (["--match_params=lorra"], "--match_params is 'lorra': expected one of"),
    (["--data.folds=2"], "--data.folds is the bench's own"),
    (["--device=h100"], "--device is for --dry_run: expected --engine.device"),
]


@pytest.mark.parametrize(("flags", "sentence"), WRONG)
def test_wrong_flags(
    arcvit: Arcvit, root: Path, tmp_path: Path, flags: list[str], sentence: str
) -> None:
    answer = arcvit("bench", root / "mine.yaml", f"--data.root={root}", *flags)
    assert answer.code == 2
    assert sentence in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize(
    ("space", "sentence"),
    [
        ("arc: {optim.lrr: [0.1]}", "no key 'optim.lrr' in a recipe. Did you mean"),
        ("arc: {optim.lr: [0.1, -1]}", "optim.lr is -1"),
        ("arc: {seed: [1, 2]}", "the search names seed, which is the bench's own"),
    ],
)
def test_wrong_searches(
    arcvit: Arcvit, root: Path, tmp_path: Path, space: str, sentence: str
) -> None:
    (tmp_path / "space.yaml").write_text(space)
    given = ["--methods=arc", f"--search={tmp_path / 'space.yaml'}", f"--data.root={root}"]
    answer = arcvit("bench", root / "mine.yaml", *given)
    assert answer.code == 2
    assert sentence in answer.err


WRONG_SUITES = [
    ("tasks: []", "is empty"),
    ("task: 3", "has no list 'tasks'"),
    ("tasks: [{name: a, path: b, group: c, prest: vtab}]", "unknown key 'prest'"),
    ("tasks: [{name: a, path: b, group: c, preset: vtob}]", "Did you mean 'vtab'"),
    ("tasks: [{name: a, path: b}]", "has no 'group'"),
    ("tasks: [{name: a, path: b, group: c}, {name: a, path: d, group: c}]", "names a twice"),
    ("tasks: [{name: a, path: b, group: c}]", "1 of 1 tasks aren't where the suite says"),
    ("tasks: [", "isn't YAML"),
    ("tasks: [{name: a, path: b, group: c, folds: 1}]", "folds is 1: expected a whole number"),
    ("bench: {seed: 1}\ntasks: [{name: a, path: b, group: c}]", "unknown key 'seed'"),
    ("bench: [1]\ntasks: [{name: a, path: b, group: c}]", "bench is [1]: expected flags"),
    (
        "tasks: [{name: a, path: b, group: c}, {name: d, path: b, group: c, group_pattern: (}]",
        "data.group_pattern is '(': expected a regular expression",
    ),
    ("tasks: [{name: .., path: b, group: c}]", "expected a name that a folder can have"),
    ("tasks: [{name: 'a, b', path: b, group: c}]", "folder can have, without a comma"),
]


@pytest.mark.parametrize(("text", "sentence"), WRONG_SUITES)
def test_wrong_suites(arcvit: Arcvit, tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    answer = arcvit("bench", tmp_path / "s.yaml", f"--out={tmp_path / 'runs'}")
    assert answer.code == 2
    assert sentence in answer.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("optim: 3", "optim"),
        ("1: 2", "r.yaml has the key 1: expected words"),
        ("engine: {epoks: 3}", "r.yaml: "),
    ],
)
def test_wrong_recipes(
    arcvit: Arcvit, root: Path, tmp_path: Path, text: str, sentence: str
) -> None:
    (tmp_path / "r.yaml").write_text(text)
    given = [f"--data.root={root}", f"--recipe={tmp_path / 'r.yaml'}", "--methods=linear,arc"]
    answer = arcvit("bench", root / "mine.yaml", *given)
    assert answer.code == 2
    assert sentence in answer.err
    assert answer.err.count("\n") == 1


def test_names_of_folders_are_read_as_data_check_reads_them(arcvit: Arcvit, tmp_path: Path) -> None:
    (tmp_path / "CIFAR-100").mkdir()
    answer = arcvit("bench", "vtab", f"--data.root={tmp_path}", "--tasks=cifar,dtd")
    assert answer.code == 2
    assert "there: cifar. Choose with --tasks." in answer.err


def test_a_root_that_lacks_tasks(arcvit: Arcvit, tmp_path: Path) -> None:
    (tmp_path / "cifar100").mkdir()
    answer = arcvit("bench", "vtab", f"--data.root={tmp_path}")
    assert answer.code == 2
    assert "18 of 19 tasks aren't in" in answer.err
    assert "oxford_iiit_pet / oxford_pet / pets / pet" in answer.err
    assert "there: cifar. Choose with --tasks." in answer.err
