"""The documents agree with the code: links, settings, extras, rooms, the picture."""

import dataclasses
import re
import runpy
import tomllib
from pathlib import Path

import pytest

from arcvit.arc.options import CHOICES, ArcOptions
from arcvit.core.extras import EXTRAS

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md")), ROOT / "benchmarks/README.md"]


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """What GitHub and MkDocs call the headings of a page."""
    headings = re.findall(r"^#+ (.*)", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"


def test_the_ablations_are_the_settings_of_arc() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", read("docs/method.md"), flags=re.MULTILINE)
    settings = {field.name for field in dataclasses.fields(ArcOptions)}
    # Neither is an ablation of the paper's.
    assert {name for name, _ in rows} == settings - {"arc_dropout", "init_weights", "ffn_placement"}
    for name, text in rows:
        assert all(f"`{choice}`" in text for choice in CHOICES.get(name, ()))


def test_the_extras_in_the_readme() -> None:
    rows = re.findall(r"^\| (`[\w`, ]+`) \|", read("README.md"), flags=re.MULTILINE)
    listed = re.findall(r"\w+", " ".join(rows))
    assert sorted(listed) == sorted([*EXTRAS, "all"])


def test_the_rooms_in_contributing() -> None:
    project = tomllib.loads(read("pyproject.toml"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    rooms = re.findall(r"^\| `(\w+)/` \|", read("CONTRIBUTING.md"), flags=re.MULTILINE)
    assert rooms == [layer.removeprefix("arcvit.") for layer in layers]


def test_the_picture_is_what_its_script_draws() -> None:
    drawn = runpy.run_path(str(ROOT / "tools/draw_method.py"))["picture"]()
    assert read("docs/images/method.svg") == drawn


def test_every_finding_is_in_the_documents() -> None:
    made = r"(?:spoils|warning|note)\)?\(\s*\"([a-z]+-[a-z-]+)\""
    sources = (ROOT / "src/arcvit/data").rglob("*.py")
    kinds = {kind for file in sources for kind in re.findall(made, file.read_text("utf-8"))}
    page = read("docs/data.md")
    assert len(kinds) > 15
    assert [kind for kind in sorted(kinds) if f"`{kind}`" not in page] == []
