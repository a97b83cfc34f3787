"""Pages as someone sees and uses them, on a screen and on a phone."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arcvit.bench.report import write_report
from arcvit.core.files import write_json
from arcvit.curate.suspects import Photo, Suspect, Suspects, Twins
from arcvit.data.pixels.preset import Decoding
from arcvit.pages.run_page import write_run_page
from arcvit.pages.suspects_page import write_suspects_page

pytestmark = pytest.mark.slow

Look = Callable[..., Any]
WIDTHS = pytest.mark.parametrize("width", [1280, 400])


@pytest.fixture(scope="module")
def run_page(trained: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = shutil.copytree(trained("arc"), tmp_path_factory.mktemp("page") / "run")
    return write_run_page(Path(run))[0]


@pytest.fixture(scope="module")
def bench_page(trained: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    methods = ("linear", "arc")
    rows = [{"method": method, "backbone": None} for method in methods]
    # The second task is one that nothing has been run on.
    groups = {"colours": "all", "shapes": "all"}
    write_json(folder / "suite.json", {"suite": "mine", "groups": groups, "rows": rows})
    for method in methods:
        shutil.copytree(trained(method), folder / "colours" / method / "seed-0")
    write_report(folder, folder / "report")
    return folder / "report" / "index.html"


@WIDTHS
def test_the_page_of_a_run(run_page: Path, in_browser: Look, width: int) -> None:
    with in_browser(run_page, width=width) as tab:
        _cells_show_their_photos(tab)
        _keys_move_through_the_matrix(tab)
        _columns_sort(tab)


@WIDTHS
def test_the_page_of_a_bench(bench_page: Path, in_browser: Look, width: int) -> None:
    with in_browser(bench_page, width=width) as tab:
        assert tab.locator("img.plot").count() == 5
        assert tab.locator("tbody tr").count() == 2 * 2
        assert "taken for" in tab.locator(".photos figcaption").first.inner_text()


@WIDTHS
def test_the_page_of_suspects(photos: Path, tmp_path: Path, in_browser: Look, width: int) -> None:
    files = sorted((photos / "train" / "red").iterdir())
    shown = [
        Photo(file=file, path=f"train/{'long' * 20}/{file.name}", label="red" * 20, split="train")
        for file in files
    ]
    suspects = [Suspect(**vars(photo), suggested="<b>blue</b>", score=0.9) for photo in shown]
    twins = [Twins(one=shown[0], other=shown[1], similarity=0.987, is_copy=False)]
    found = Suspects(
        task="colours",
        kind="single",
        images=80,
        wrong=9,
        suspects=tuple(suspects),
        twins=tuple(twins),
        unjudged=(shown[2],),
        why_not="there is no other",
        skipped=((files[3], "not an image"),),
        joint=(),
        judge="a linear probe",
        decoding=Decoding(),
    )
    write_suspects_page(found, tmp_path / "suspects.html")
    with in_browser(tmp_path / "suspects.html", width=width) as tab:
        assert tab.locator(".photos figure").count() == len(files) + 2
        said = tab.locator("body").inner_text()
        for words in ("rather <b>blue</b>?", "90.0 %", "0.987 alike", "not an image"):
            assert words in said


def _cells_show_their_photos(tab: Any) -> None:
    cell = tab.locator("#matrix td[data-n]").first
    images = int(cell.inner_text())
    cell.click()
    assert tab.locator("#cell h3").inner_text().startswith(f"{images} photo")
    assert tab.locator("#cell img").count() == images


def _keys_move_through_the_matrix(tab: Any) -> None:
    tab.locator("#matrix td").first.focus()
    for key in ("End", "ArrowDown", "Home", "ArrowRight"):
        tab.keyboard.press(key)
    assert tab.evaluate("document.activeElement.dataset.cell") == "1,1"
    assert tab.locator("#matrix td[tabindex='0']").count() == 1
    tab.keyboard.press("Enter")
    assert "green, taken for what they are" in tab.locator("#cell h3").inner_text()
    tab.locator("#order").select_option("mistakes")
    assert tab.locator("#matrix tbody tr").count() == 4


def _columns_sort(tab: Any) -> None:
    table = tab.locator("table.sortable").last
    recall = table.locator("th.sort").nth(2)
    for order, sign in (("ascending", 1), ("descending", -1)):
        recall.locator("button").click()
        assert recall.get_attribute("aria-sort") == order
        values = table.locator("tbody td:nth-child(3)").evaluate_all(
            "cells => cells.map(cell => Number(cell.dataset.value))"
        )
        assert values == sorted(values, key=lambda value: sign * value)
