"""The commands and the Python in README.md and docs/plugins.md run as they stand."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from arcvit.cli.main import main
from arcvit.methods import table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PLUGINS = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands(text: str) -> list[str]:
    return [line for block in blocks(text, "bash") for line in block.splitlines() if line]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos: Path, paint_classes) -> Path:
    """A current folder with the photos that the pages speak of, and small models by big names."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(photos, "photos")
    for of_class in Path("photos").glob("*/red"):
        of_class.rename(of_class.with_name("cat"))
    Path("photos/test/cat/red_00.png").rename("photos/test/cat/1.png")
    shutil.copy("photos/test/cat/1.png", "photo.jpg")
    paint_classes(tmp_path / "new_photos", 2, seed=7)
    build = timm.create_model

    def small(name: str, pretrained: bool = False, **arguments):
        # The hub is out of reach in tests, and twelve blocks are slow.
        torch.manual_seed(0)
        if name.startswith("local-dir:"):
            return build(name, pretrained=pretrained, **arguments)
        if name.startswith("vit_base"):
            arguments["depth"] = 1
        return build(name.split(".")[0], pretrained=False, **arguments)

    monkeypatch.setattr(timm, "create_model", small)
    (suite,) = blocks(README, "yaml")
    Path("mine.yaml").write_text(suite)
    return tmp_path


def run(command: str, number: int) -> None:
    words = shlex.split(command)
    assert words[0] == "arcvit"
    given = words[1:]
    if words[1] in ("train", "bench") and not {"--print_config", "--dry_run"} & set(words):
        given.append("--engine.epochs=1")
    if words[1] == "bench" and not {"--search", "--dry_run"} & set(words):
        given += ["--search=none", "--seeds=0"]
    if "--out" not in words and words[1] == "train":
        given += ["--out", f"runs/{number}"]
    try:
        code = main(given)
    except SystemExit as stop:  # --print_config
        code = stop.code
    assert not code, command


@pytest.mark.slow
def test_the_readmes_commands_run_in_their_order(folder: Path) -> None:
    weights = timm.create_model("vit_base_patch16_224", num_classes=10).state_dict()
    save_file(weights, folder / "weights.safetensors")
    assert len(commands(README)) >= 13
    for number, command in enumerate(commands(README)):
        run(command, number)
    assert "arc:share=none" in Path("runs/mine/report/table.md").read_text()


@pytest.mark.slow
def test_the_commands_of_plugins_run_in_their_order(folder: Path, monkeypatch) -> None:
    (tuner,), (code,) = blocks(PLUGINS, "yaml"), blocks(PLUGINS, "python")
    Path("dora.yaml").write_text(tuner)
    Path("partial_tuning.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(table, "_PLUGGED", {})
    assert len(commands(PLUGINS)) == 4
    for number, command in enumerate(commands(PLUGINS)):
        # Each bench of the page is a folder of its own.
        out = f" --out runs/bench-{number}" if " bench " in command else ""
        run(f"{command}{out}", number)


@pytest.mark.slow
def test_the_readmes_python_runs_as_it_stands(folder: Path) -> None:
    names: dict = {}
    for block in blocks(README, "python"):
        exec(compile(block, "README.md", "exec"), names)
    assert len(names["features"]) == 1
    assert type(names["plain"]) is type(timm.create_model("vit_base_patch16_224"))
    assert {ranked.label for ranked in names["predictions"][0].top} == {"cat", "dog"}


@pytest.mark.slow
def test_the_notebook_runs_as_it_stands(tmp_path: Path) -> None:
    """Its cells in order, in a process of their own; only the photos are fewer."""
    notebook = json.loads((ROOT / "examples/quickstart.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] for cell in cells)
    code = "\n\n".join("".join(cell["source"]) for cell in cells)
    photos = 'files("arcvit") / "assets" / "grocery"'
    assert photos in code
    script = tmp_path / "quickstart.py"
    script.write_text(code.replace(photos, '__import__("pathlib").Path("few")'), encoding="utf-8")
    for file in sorted((ROOT / "src/arcvit/assets/grocery").glob("*/[AB]*/*_00[0-9].jpg")):
        target = tmp_path / "few" / file.relative_to(ROOT / "src/arcvit/assets/grocery")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    subprocess.run([sys.executable, str(script)], cwd=tmp_path, check=True, timeout=300)
    assert (tmp_path / "runs/quickstart/result.json").is_file()


def test_the_number_of_parameters_in_the_readme() -> None:
    from peft import get_peft_model

    from arcvit import ArcConfig

    with torch.device("meta"):
        vit = timm.create_model("vit_base_patch16_224", num_classes=2)
        model = get_peft_model(vit, ArcConfig(r=50, modules_to_save=["head"]))
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    head = 2 * 768 + 2
    assert f"# {trained:,}: {trained - head:,} in the adapter, {head:,} in the head" in README


def test_the_gate_is_the_command_that_ci_runs() -> None:
    assert re.search(r"^make check$", README, flags=re.MULTILINE)
