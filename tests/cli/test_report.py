"""``arcvit report``: the table's figures, the files, and the page in a browser."""

import csv
import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from arcvit.bench.collect import collect
from arcvit.core.files import write_json, write_text
from arcvit.core.metrics import write_metrics
from arcvit.core.result import RunResult
from arcvit.data.catalogue import suite_tasks

Arcvit = Callable[..., object]


def result(task: str, method: str, seed: int, accuracy: float) -> RunResult:
    return RunResult(
        task=task,
        kind="single",
        backbone="vit_base_patch16_224.orig_in21k",
        backbone_fingerprint="f",
        method=method,
        seed=seed,
        preset="vtab",
        selection="fitted on trainval, last epoch, test read once",
        metric="accuracy",
        classes=3,
        train_images=1000,
        skipped_images=0,
        params={"adapter": 1000, "head": 500, "total": 1500},
        metrics={"test": {"accuracy": accuracy, "balanced_accuracy": accuracy}},
        val_accuracy=None,
        test_accuracy=accuracy,
        val_balanced_accuracy=None,
        test_balanced_accuracy=accuracy,
        guessing_loss=1.0986,
        out_of_fold=None,
        majority_share=0.25,
        test_group_accuracy=None,
        test_groups=None,
        epochs=2,
        seconds={"train": 3.0, "eval": 1.0},
        images_per_second=100.0,
        peak_memory_mb=200.0,
        adapter_bytes=4000,
        versions={"torch": "2"},
        arcvit_version="0",
    )


def epoch(number: int, *, loss: float) -> dict[str, float]:
    return {"epoch": number, "train_loss": loss, "train_accuracy": 0.4 + number / 10}


def rows(*methods: str, backbone: str | None = None) -> list[dict[str, str | None]]:
    return [{"method": method, "backbone": backbone} for method in methods]


def read_csv(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text().splitlines()))


def write_bench(folder: Path, groups: dict[str, str]) -> Path:
    """Two seeds of two methods on tasks of VTAB-1k; cifar's test split has a wrong size."""
    methods = ["linear", "arc"]
    suite = {"suite": "vtab", "benchmark": True, "groups": groups, "rows": rows(*methods)}
    write_json(folder / "suite.json", suite)
    for index, task in enumerate(groups):
        for bonus, method in enumerate(methods):
            for seed in (0, 1):
                run = folder / task / method / f"seed-{seed}"
                run.mkdir(parents=True)
                accuracy = (10 + index + 5 * bonus + 2 * seed) / 100
                result(task, method, seed, accuracy).write(run)
                write_metrics(run, [epoch(1, loss=1.0), epoch(2, loss=0.5)])
    warning = "test has 2,000 images, the benchmark 10,000"
    write_json(folder / "cifar" / "data.json", {"counts": {}, "warnings": [warning]})
    return folder


@pytest.fixture
def vtab_bench(tmp_path: Path) -> Path:
    """All tasks of VTAB-1k."""
    return write_bench(tmp_path, {task.name: task.group for task in suite_tasks("vtab")})


@pytest.fixture
def two_tasks(tmp_path: Path) -> Path:
    """The smallest bench in which damage to one task could reach another."""
    return write_bench(tmp_path, dict.fromkeys(("cifar", "dtd"), "natural"))


@pytest.mark.slow
def test_the_papers_table(arcvit: Arcvit, vtab_bench: Path) -> None:
    answer = arcvit("report", vtab_bench, "--against=linear")
    assert answer.code == 0
    beside = (vtab_bench / "report" / "against.md").read_text()
    assert "| arc | 1,000 | 1,000 | 25.0 | +5.00 | 0.00 | 0.00 | 19 of 19 | 0 of 19 |" in beside
    assert (vtab_bench / "report" / "against.png").is_file()
    assert beside in answer.out
    table = read_csv(vtab_bench / "report" / "table.csv")
    ours = {row["method"]: row for row in table if row["source"] == "2 seeds"}
    published = {row["method"]: row for row in table if row["source"] == "published"}
    assert list(ours) == ["linear", "arc"]
    assert list(published)[:2] == ["Full", "Linear"]
    # Seeds 0 and 1 differ by two points in every task.
    assert float(ours["linear"]["cifar"]) == 11
    assert float(ours["linear"]["cifar std"]) == pytest.approx(2**0.5, abs=1e-3)
    natural, specialized, structured = 11 + 3, 11 + 8.5, 11 + 14.5
    assert float(ours["linear"]["mean natural"]) == natural
    assert float(ours["linear"]["mean of 19"]) == 11 + 9
    assert float(ours["linear"]["mean of groups"]) == pytest.approx(
        (natural + specialized + structured) / 3, abs=1e-3
    )
    assert float(ours["arc"]["mean of 19"]) == 25
    assert float(published["ARC"]["mean of 19"]) == 73.4
    assert published["ARC_att"]["cifar"] == ""
    assert (ours["arc"]["adapter"], ours["arc"]["with head"]) == ("1000.0", "1500.0")
    text = (vtab_bench / "report" / "table.md").read_text()
    assert "11.0 ± 1.4" in text
    assert "- **Warning:** cifar: test has 2,000 images, the benchmark 10,000" in text
    latex = (vtab_bench / "report" / "table.tex").read_text()
    assert r"ARC\_att & vit\_base\_patch16\_224 & published" in latex
    assert r"Warning: cifar: test has 2,000 images" in latex
    assert ours["arc"]["warnings"] == "cifar: test has 2,000 images, the benchmark 10,000"
    assert r"$\pm$" in latex


def test_published_rows_agree_with_their_means(vtab_bench: Path) -> None:
    from arcvit.bench.collect import collect
    from arcvit.bench.table import table_rows

    for row in table_rows(collect(vtab_bench)):
        known = [cell.mean for cell in row.tasks.values() if cell is not None]
        if not row.published or not known:
            continue
        assert len(known) == 19
        assert row.mean is not None
        # The papers print the mean of the tasks or of the groups, some with rounded parts.
        assert row.group_mean is not None
        means = (sum(known) / 19, row.group_mean.mean)
        assert min(abs(row.mean.mean - mean) for mean in means) < 0.12, row.method


@pytest.mark.slow
def test_published_rows_stand_beside_their_own_backbone(arcvit: Arcvit, vtab_bench: Path) -> None:
    vit, swin = "vit_base_patch16_224.x", "swin_base_patch4_window7_224.ms_in22k"
    suite = json.loads((vtab_bench / "suite.json").read_text())
    both = rows("arc", backbone=swin) + rows("arc", "linear", backbone=vit)
    write_json(vtab_bench / "suite.json", suite | {"rows": both})
    assert arcvit("report", vtab_bench).code == 2  # the runs lie elsewhere
    for method, backbone in (("arc", swin), ("arc", vit), ("linear", vit)):
        run = vtab_bench / "cifar" / f"{method}@{backbone}" / "seed-0"
        run.mkdir(parents=True)
        dataclasses.replace(result("cifar", method, 0, 0.5), backbone=backbone).write(run)
    assert arcvit("report", vtab_bench).code == 0
    table = read_csv(vtab_bench / "report" / "table.csv")
    assert [(row["backbone"], row["source"]) for row in table] == [
        (swin, "1 seed"),
        *[("vit_base_patch16_224", "published")] * 6,
        *[(vit, "1 seed")] * 2,
    ]
    write_json(vtab_bench / "suite.json", suite | {"rows": both[:1]})
    assert arcvit("report", vtab_bench).code == 0
    table = read_csv(vtab_bench / "report" / "table.csv")
    assert [row["source"] for row in table] == ["1 seed"]


@pytest.mark.slow
def test_means_need_all_tasks(arcvit: Arcvit, vtab_bench: Path) -> None:
    shutil.rmtree(vtab_bench / "svhn" / "arc")
    out = vtab_bench / "elsewhere"
    assert arcvit("report", vtab_bench, f"--out={out}").code == 0
    found = {row["method"]: row for row in read_csv(out / "table.csv")}
    assert found["arc"]["mean natural"] == ""
    assert found["arc"]["mean specialized"] != ""
    assert found["arc"]["mean of 19"] == ""
    assert "1 of 38 cells have no finished run" in (out / "index.html").read_text()


@pytest.mark.slow
def test_published_means_are_of_the_tasks_shown(arcvit: Arcvit, vtab_bench: Path) -> None:
    suite = json.loads((vtab_bench / "suite.json").read_text())
    shown = ["cifar", "svhn", "dtd", "patch_camelyon", "eurosat", "resisc45"]
    suite["groups"] = {task: suite["groups"][task] for task in [*shown, "diabetic_retinopathy"]}
    write_json(vtab_bench / "suite.json", suite)
    assert arcvit("report", vtab_bench).code == 0
    found = {row["method"]: row for row in read_csv(vtab_bench / "report" / "table.csv")}
    natural = (72.2 + 91.9 + 72.7) / 3
    assert float(found["ARC"]["mean natural"]) == pytest.approx(natural, abs=1e-3)
    assert float(found["ARC"]["mean specialized"]) == 85.8  # all four: as printed
    every = (72.2 + 91.9 + 72.7 + 84.9 + 95.7 + 86.7 + 75.8) / 7
    assert float(found["ARC"]["mean of 7"]) == pytest.approx(every, abs=1e-3)
    assert found["ARC_att"]["mean natural"] == found["ARC_att"]["mean of 7"] == ""


@pytest.mark.slow
def test_what_failed_or_was_left_out_is_told(arcvit: Arcvit, vtab_bench: Path) -> None:
    suite = json.loads((vtab_bench / "suite.json").read_text())
    write_json(vtab_bench / "suite.json", suite | {"rows": rows("linear", "vpt", "arc")})
    for task in ("cifar", "dtd"):
        write_json(vtab_bench / task / "failures.json", {"vpt": "it needs absolute positions."})
    file = vtab_bench / "svhn" / "arc" / "seed-1" / "result.json"
    write_json(file, json.loads(file.read_text()) | {"skipped_images": 3})
    write_metrics(file.parent, [epoch(1, loss=1.2), epoch(2, loss=1.19)])
    assert arcvit("report", vtab_bench).code == 0
    text = (vtab_bench / "report" / "table.md").read_text()
    assert "vpt on cifar, vpt on dtd failed: it needs absolute positions." in text
    assert "svhn: 3 unreadable images were left out" in text
    assert "svhn: arc seed 1 learned nothing: the training loss ended at 1.19" in text
    assert text.count("learned nothing") == 1
    assert "19 of 57 cells have no finished run" in text
    found = {row["method"]: row for row in read_csv(vtab_bench / "report" / "table.csv")}
    assert found["vpt"]["cifar"] == found["vpt"]["adapter"] == ""


@pytest.mark.slow
def test_damage_beside_the_results_leaves_the_table(arcvit: Arcvit, two_tasks: Path) -> None:
    (two_tasks / "cifar" / "arc" / "seed-0" / "metrics.jsonl").write_text("{")
    assert arcvit("report", two_tasks).code == 0
    (two_tasks / "suite.json").write_text("{}")
    answer = arcvit("report", two_tasks)
    assert answer.code == 2
    assert "suite.json is damaged: expected 'suite' in it" in answer.err


@pytest.mark.parametrize("content", ["{", "[]", '{"settings": 3, "warnings": 3}'])
def test_damaged_files_beside_the_results_are_named(two_tasks: Path, content: str) -> None:
    beside = ("data.json", "failures.json", "arc/search/choice.json")
    for file in beside:
        write_text(two_tasks / "cifar" / file, content)
    suite = json.loads((two_tasks / "suite.json").read_text())
    write_json(two_tasks / "suite.json", suite | {"ended": "was interrupted"})
    found = collect(two_tasks)
    assert len(found.runs["cifar", "arc"]) == 2
    damaged = [text for text in found.warnings["cifar"] if text.endswith("It is left out.")]
    # The names of rows in failures.json may be any.
    assert len(damaged) == (2 if "settings" in content else 3)
    assert found.ended == "was interrupted"


@pytest.mark.parametrize("content", ["", '{"task": "cif', "[]", "{}", None])
def test_a_damaged_result_is_left_out(two_tasks: Path, content: str | None) -> None:
    file = two_tasks / "cifar" / "arc" / "seed-1" / "result.json"
    if content is None:
        content = file.read_text().replace('"seed": 1', '"seed": "one"')
    file.write_text(content)
    found = collect(two_tasks)
    assert [run.result.seed for run in found.runs["cifar", "arc"]] == [0]
    assert len(found.runs["dtd", "arc"]) == 2
    (left_out,) = [text for text in found.warnings["cifar"] if "left out" in text]
    assert left_out.startswith(f"arc seed 1 is left out: {file}")


def test_a_folder_without_a_bench(arcvit: Arcvit, tmp_path: Path) -> None:
    answer = arcvit("report", tmp_path)
    assert answer.code == 2
    assert "holds no finished run and no bench: expected result.json" in answer.err
    write_json(tmp_path / "suite.json", {"suite": "s", "groups": {"a": "g"}, "rows": []})
    answer = arcvit("report", tmp_path)
    assert answer.code == 2
    assert "holds no finished run yet" in answer.err
