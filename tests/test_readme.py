"""The README's commands and Python are run as they stand."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import timm
import torch

from arcvit.cli.main import main

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
NEEDS_THE_HUB = "vit_base_patch16_224.augreg_in21k"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    return [line for block in blocks("bash") for line in block.splitlines() if line]


@pytest.mark.slow
def test_commands_run_in_their_order(tmp_path, monkeypatch, capsys, photos) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(photos, "photos")
    for folder in Path("photos").glob("*/red"):
        folder.rename(folder.with_name("cat"))
    Path("photos/test/cat/red_00.png").rename("photos/test/cat/1.png")
    weights = timm.create_model("vit_base_patch16_224", depth=1, num_classes=10).state_dict()
    build = timm.create_model

    def small(name: str, pretrained: bool = False, **arguments):
        # The hub is out of reach in tests, and twelve blocks are slow.
        if name.startswith("vit_base"):
            arguments["depth"] = 1
        return build(name.split(".")[0], pretrained=False, **arguments)

    monkeypatch.setattr(timm, "create_model", small)
    from safetensors.torch import save_file

    save_file(weights, tmp_path / "weights.safetensors")
    assert len(commands()) >= 9
    for command in commands():
        words = shlex.split(command)
        assert words[0] == "arcvit"
        extra = ["--engine.epochs=1"] if words[1] == "train" else []
        given = words[1:] + (extra if "--print_config" not in words else [])
        if "--out" not in words and words[1] == "train":
            given += ["--out", f"runs/{len(list(tmp_path.glob('runs/*')))}"]
        try:
            code = main(given)
        except SystemExit as stop:  # --print_config
            code = stop.code
        assert not code, f"{command}: {capsys.readouterr().err}"


def test_python_runs_as_it_stands(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = blocks("python")
    build = timm.create_model
    made = []

    def offline(name: str, pretrained: bool = False, **arguments):
        assert (name, pretrained) == (NEEDS_THE_HUB, True)
        torch.manual_seed(0)
        made.append(build("vit_base_patch16_224", **arguments))
        return made[-1]

    monkeypatch.setattr(timm, "create_model", offline)
    names: dict = {}
    exec(compile(block, "README.md", "exec"), names)
    assert "# 104,122 of them" in block
    trained = 96_432 + 769 * 10
    assert trained == 104_122
    assert type(names["plain"]) is type(made[0])


def test_the_gate_is_the_command_that_ci_runs() -> None:
    assert re.search(r"^make check$", README, flags=re.MULTILINE)
    for command in re.findall(r"^(make \w+)", README, flags=re.MULTILINE):
        makefile = (Path(__file__).parents[1] / "Makefile").read_text(encoding="utf-8")
        assert re.search(rf"^{command.split()[1]}:", makefile, flags=re.MULTILINE)
