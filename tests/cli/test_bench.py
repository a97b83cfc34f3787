"""``arcvit bench``: a whole suite on tiny tasks, and that it goes on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from arcvit.core.predictions import read_predictions

Arcvit = Callable[..., object]

FAST = (
    "--engine.epochs=2",
    "--engine.batch_size=16",
    "--engine.precision=fp32",
    "--arc.r=4",
    "--data.augment=none",
)


@pytest.fixture(scope="module")
def root(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks of the same photos; the second is to be changed by tests that copy it."""
    folder = tmp_path_factory.mktemp("suite")
    shutil.copytree(photos, folder / "one")
    shutil.copytree(photos, folder / "two")
    (folder / "mine.yaml").write_text(
        "tasks:\n"
        "  - {name: one, path: one, group: first}\n"
        "  - {name: two, path: two, group: second, preset: vtab}\n"
    )
    return folder


@pytest.fixture(scope="module")
def finished(root: Path, tiny: Path) -> Path:
    """Both tasks, two methods, a search, two seeds."""
    from arcvit.cli.main import main

    out = root / "runs"
    assert main(["bench", *command(root, tiny, out)]) == 0
    return out


def command(root: Path, tiny: Path, out: Path) -> list[str]:
    given = [f"--data.root={root}", f"--backbone={tiny}", f"--out={out}", "--methods=linear,arc"]
    return [str(root / "mine.yaml"), *given, "--seeds=0,1", *FAST]


def test_the_runs_of_a_bench(finished: Path) -> None:
    for task in ("one", "two"):
        for method in ("linear", "arc"):
            folder = finished / task / method
            choice = json.loads((folder / "search" / "choice.json").read_text())
            assert len(choice["trials"]) == 3
            best = max(trial["val_accuracy"] for trial in choice["trials"])
            assert choice["settings"]["optim.lr"] == min(
                trial["settings"]["optim.lr"]
                for trial in choice["trials"]
                if trial["val_accuracy"] == best
            )
            trials = list((folder / "search").glob("optim.lr=*"))
            assert len(trials) == 3
            for trial in trials:
                record = json.loads((trial / "result.json").read_text())
                assert record["test_accuracy"] is None
                assert record["train_images"] == 48
                assert record["selection"].endswith("test not read")
            for seed in (0, 1):
                record = json.loads((folder / f"seed-{seed}" / "result.json").read_text())
                assert record["train_images"] == 72
                assert record["val_accuracy"] is None
                assert record["seed"] == seed
                kept = read_predictions(folder / f"seed-{seed}")
                hits = [image.is_right for image in kept]
                assert record["test_accuracy"] == pytest.approx(sum(hits) / len(hits))
    assert (
        json.loads((finished / "two" / "arc" / "seed-0" / "result.json").read_text())["preset"]
        == "vtab"
    )


def test_nothing_is_run_again(arcvit: Arcvit, root: Path, tiny: Path, finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("result.json")}
    answer = arcvit("bench", *command(root, tiny, finished))
    assert answer.code == 0
    assert answer.out.count("finished before") == 8
    assert "ended" not in json.loads((finished / "suite.json").read_text())
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("result.json")} == before


@pytest.mark.slow
def test_it_goes_on(arcvit: Arcvit, root: Path, tiny: Path, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    shutil.copytree(finished, out)
    (out / "two" / "linear" / "seed-1" / "result.json").unlink()
    answer = arcvit("bench", *command(root, tiny, out))
    assert answer.code == 0
    assert answer.out.count("finished before") == 7
    assert (out / "two" / "linear" / "seed-1" / "result.json").is_file()


def test_other_settings_are_not_mixed(
    arcvit: Arcvit, root: Path, tiny: Path, finished: Path
) -> None:
    given = [a for a in command(root, tiny, finished) if not a.startswith("--engine.epochs")]
    answer = arcvit("bench", *given, "--engine.epochs=3")
    assert answer.code == 1
    assert "holds a finished run with other settings (they differ in engine.epochs)" in answer.out


def test_a_failing_task_does_not_stop_the_rest(
    arcvit: Arcvit, root: Path, tiny: Path, tmp_path: Path
) -> None:
    shutil.copytree(root / "one", tmp_path / "one")
    shutil.copytree(root / "two", tmp_path / "two")
    broken = next((tmp_path / "one" / "test").rglob("*.png"))
    broken.write_bytes(b"no image")
    shutil.copy(root / "mine.yaml", tmp_path)
    given = [*command(tmp_path, tiny, tmp_path / "runs"), "--search=none"]
    answer = arcvit("bench", *given, "--methods=linear", "--seeds=0")
    assert answer.code == 1
    assert "failed: one linear: " in answer.out
    assert broken.name in answer.out
    assert (tmp_path / "runs" / "two" / "linear" / "seed-0" / "result.json").is_file()
    assert not (tmp_path / "runs" / "one" / "linear" / "seed-0").exists()


@pytest.mark.slow
def test_an_error_of_any_kind_is_told_and_the_rest_goes_on(
    arcvit: Arcvit, root: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from arcvit.bench import work

    def out_of_memory(*args: object, **kwargs: object) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(work, "execute", out_of_memory)
        given = [*command(root, tiny, tmp_path / "runs"), "--search=none", "--methods=linear"]
        answer = arcvit("bench", *given, "--seeds=0")
    assert answer.code == 1
    assert answer.out.count("linear failed: RuntimeError: out of memory") == 2
    reasons = json.loads((tmp_path / "runs" / "two" / "failures.json").read_text())
    assert reasons == {"linear": "RuntimeError: out of memory"}
    assert arcvit("bench", *given, "--seeds=0", "--tasks=two").code == 0
    assert json.loads((tmp_path / "runs" / "two" / "failures.json").read_text()) == {}
    # Called with fewer tasks first: the table has them in the suite's order all the same.
    suite = json.loads((tmp_path / "runs" / "suite.json").read_text())
    assert list(suite["groups"]) == ["one", "two"]


def test_a_root_may_be_given_in_any_way(
    arcvit: Arcvit, root: Path, tiny: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    given = [a for a in command(root, tiny, finished) if not a.startswith("--data.root")]
    answer = arcvit("bench", *given, "--data.root=.")
    assert answer.code == 0
    assert answer.out.count("finished before") == 8


@pytest.mark.slow
def test_a_file_called_like_a_benchmark_is_none(
    arcvit: Arcvit, root: Path, tiny: Path, tmp_path: Path
) -> None:
    shutil.copy(root / "mine.yaml", tmp_path / "vtab.yaml")
    given = [str(tmp_path / "vtab.yaml"), *command(root, tiny, tmp_path / "runs")[1:]]
    answer = arcvit("bench", *given, "--search=none", "--methods=linear", "--seeds=0")
    assert answer.code == 0
    assert arcvit("report", tmp_path / "runs").code == 0
    assert "published" not in (tmp_path / "runs" / "report" / "table.md").read_text()


@pytest.mark.slow
def test_settings_and_backbones_are_rows(
    arcvit: Arcvit, root: Path, tiny: Path, other_tiny: Path, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    methods = "--methods=linear,lora:r=2,arc:share=none,arc:layers_to_transform=[0]"
    given = [root / "mine.yaml", f"--data.root={root}", "--seeds=0", "--tasks=one", *FAST]
    bench = [*given, f"--out={out}", f"--backbones={tiny},{other_tiny}", methods]
    answer = arcvit("bench", *bench)
    assert answer.code == 0
    recipe = yaml.safe_load((out / "one" / "lora-r=2@other" / "seed-0" / "recipe.yaml").read_text())
    assert (recipe["method"], recipe["lora"]["r"], recipe["backbone"]) == (
        "lora",
        2,
        str(other_tiny),
    )
    recipe = yaml.safe_load(
        (out / "one" / "arc-share=none@tiny" / "seed-0" / "recipe.yaml").read_text()
    )
    assert (recipe["arc"]["share"], recipe["arc"]["r"]) == ("none", 4)
    table = arcvit("report", out).out
    rows = [line.split(" | ")[:2] for line in table.splitlines() if line.endswith(" |")][2:]
    every = ["linear", "lora:r=2", "arc:share=none", r"arc:layers_to_transform=\[0\]"]
    assert rows == [[f"| {m}", b] for b in ("tiny", "other") for m in every]
    # What was chosen is run again without a search.
    settings = out / "report" / "settings.yaml"
    again = [*given, f"--out={tmp_path / 'again'}", f"--backbones={tiny}", methods]
    answer = arcvit("bench", *again, f"--settings={settings}")
    assert answer.code == 0
    chosen = yaml.safe_load(settings.read_text())["one"]
    assert f"one linear on tiny seed 0 lr {chosen['linear on tiny']['optim.lr']:g}: " in answer.out
    assert not list((tmp_path / "again").rglob("search/optim*"))
    assert arcvit("report", tmp_path / "again").code == 0
    kept = yaml.safe_load((tmp_path / "again" / "report" / "settings.yaml").read_text())
    assert kept["one"].items() <= chosen.items()
    answer = arcvit("bench", *given, "--methods=ssf", f"--settings={settings}")
    assert (answer.code, "has no settings of ssf on one" in answer.err) == (2, True)


@pytest.mark.slow
def test_a_search_over_two_settings(arcvit: Arcvit, root: Path, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(
        "arc: {optim.lr: [0.001, 0.01], arc.arc_dropout: [0.5, 0]}"
    )
    given = [*command(root, tiny, tmp_path / "runs"), f"--search={tmp_path / 'space.yaml'}"]
    answer = arcvit("bench", *given, "--methods=arc", "--tasks=one", "--seeds=1")
    assert answer.code == 0
    folder = tmp_path / "runs" / "one" / "arc"
    choice = json.loads((folder / "search" / "choice.json").read_text())
    assert len(choice["trials"]) == 4
    recipe = yaml.safe_load((folder / "seed-1" / "recipe.yaml").read_text())
    assert choice["settings"] == {
        "optim.lr": recipe["optim"]["lr"],
        "arc.arc_dropout": recipe["arc"]["arc_dropout"],
    }
    for trial in choice["trials"]:
        lr, dropout = trial["settings"].values()
        run = folder / "search" / f"optim.lr={lr},arc.arc_dropout={dropout},seed=1"
        assert yaml.safe_load((run / "recipe.yaml").read_text())["arc"]["arc_dropout"] == dropout


@pytest.mark.slow
def test_a_search_over_seeds_and_folds_that_goes_beyond_its_rates(
    arcvit: Arcvit, root: Path, tiny: Path, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).symlink_to(root / name)
    suite = tmp_path / "fair.yaml"
    suite.write_text(
        "bench: {methods: linear, seeds: 0, search: rates.yaml, search_seeds: '0,1',"
        " extend_rates: 1}\n"
        "tasks:\n  - {name: one, path: one, group: g, folds: 2, group_pattern: '^(.*_[0-9])'}\n"
    )
    (tmp_path / "rates.yaml").write_text("linear: {optim.lr: [0.00001, 0.0001]}")
    out = tmp_path / "runs"
    flags = (f"--data.root={tmp_path}", f"--backbone={tiny}", f"--out={out}", *FAST)
    answer = arcvit("bench", suite, *flags)
    assert answer.code == 0, answer.err
    folder = out / "one" / "linear"
    choice = json.loads((folder / "search" / "choice.json").read_text())
    rates = [trial["settings"]["optim.lr"] for trial in choice["trials"]]
    assert rates[:2] == [0.00001, 0.0001]
    assert len(rates) == 3
    assert choice["edge"] == (choice["settings"]["optim.lr"] in (min(rates), max(rates)))
    for trial in choice["trials"]:
        found = []
        for place in (0, 1):
            name = f"optim.lr={trial['settings']['optim.lr']!r},seed={place},fold={place}of2"
            record = json.loads((folder / "search" / name / "result.json").read_text())
            assert record["test_accuracy"] is None
            assert 24 <= record["train_images"] <= 48  # of 72, groups of different sizes
            found.append(record["val_accuracy"])
        assert trial["runs"] == found
        assert trial["val_accuracy"] == pytest.approx(sum(found) / 2)
    assert "7/7" in answer.out
    assert (folder / "seed-0" / "result.json").is_file()


def test_a_ruined_seed_is_counted(arcvit: Arcvit, root: Path, tiny: Path, tmp_path: Path) -> None:
    given = [*command(root, tiny, tmp_path / "runs"), "--search=none", "--tasks=one"]
    answer = arcvit("bench", *given, "--methods=linear:optim.lr=1e38", "--seeds=0,1")
    assert answer.code == 1
    ruined = json.loads((tmp_path / "runs" / "one" / "ruined.json").read_text())
    assert list(ruined["linear:optim.lr=1e+38"]) == ["0", "1"]


@pytest.mark.slow
def test_the_plan_of_vtab(arcvit: Arcvit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    planned = ("bench", "vtab", "--dry_run", "--methods=linear,arc")
    answer = arcvit(*planned)
    assert answer.code == 0
    some = (*planned, "--tasks=cifar", "--jobs=8")
    assert arcvit(*some).out == arcvit(*some).out
    assert "12 runs on h100, 8 at once" in arcvit(*some, "--device=h100").out
    for name in ("cifar", "smallnorb_ele", "96,432", "173,332", "GB", "228 runs"):
        assert name in answer.out
