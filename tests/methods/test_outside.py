"""Methods from outside: a plug-in in one file through every command, and what goes wrong."""

import json
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import yaml

from arcvit.core.errors import UserError
from arcvit.methods import table
from arcvit.recipe.parser import parse_recipe, read_recipe

Arcvit = Callable[..., object]
PLUGIN = "--plugin=gain:SPEC"


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The folder of the plug-in on the path; nothing stays plugged in."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "outside"))
    table._installed.cache_clear()
    yield
    table._PLUGGED.clear()
    table._installed.cache_clear()
    sys.modules.pop("gain", None)


@pytest.mark.slow
def test_every_command_knows_a_plugin(
    arcvit: Arcvit, short_run: tuple[str, ...], photos: Path, tiny: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    given = [*short_run, "--method=gain:start=0.5", f"--out={run}"]
    assert "method is 'gain': expected one of" in arcvit("train", *given).err
    assert arcvit("train", PLUGIN, *given).code == 0
    facts = json.loads(arcvit("inspect", run, "--json", PLUGIN).out)
    assert (facts["method"], facts["start"]) == ("gain", 0.5)
    assert facts["parameters"] == {"adapter": 2 * 32, "head": 4 * 32 + 4}
    assert arcvit("merge", run, f"--out={tmp_path / 'm.safetensors'}", PLUGIN).code == 0
    assert arcvit("evaluate", run, PLUGIN).code == 0
    (tmp_path / "mine.yaml").write_text(f"tasks: [{{name: a, path: {photos}, group: g}}]")
    flags = [f for f in short_run if f.startswith(("--engine", "--backbone"))]
    rows = "--methods=linear,gain,gain:start=2"
    bench = [tmp_path / "mine.yaml", rows, *flags, "--seeds=0", "--search=none"]
    assert arcvit("bench", *bench, f"--out={tmp_path / 'runs'}", PLUGIN).code == 0
    assert "| gain:start=2 | tiny | 1 seed |" in arcvit("report", tmp_path / "runs").out
    assert "gain" in arcvit("bench", *bench, "--dry_run", PLUGIN).out
    # Without the flag, nothing of a recipe loads it, and the sentence says where it came from.
    table._PLUGGED.clear()
    del sys.modules["gain"]
    said = arcvit("merge", run, f"--out={tmp_path / 'n.safetensors'}").err
    assert "'gain', which came from outside arcvit, and no recipe loads it" in said
    assert "if you trust it, give --plugin gain:SPEC." in said
    assert "gain" not in sys.modules


WRONG = [
    ("nowhere:SPEC", "method 'SPEC' of --plugin nowhere:SPEC can't be loaded: ModuleNotFound"),
    ("gain", "--plugin is 'gain': expected package.module:SPEC"),
    ("gain:NOTHING", "can't be loaded: AttributeError"),
    ("gain:build", "is function: expected a MethodSpec"),
    ("broken:SPEC", "can't be loaded: ZeroDivisionError: division by zero"),
    ("taken:SPEC", "method 'arc' of --plugin taken:SPEC has a name that is taken"),
]


@pytest.mark.parametrize(("target", "sentence"), WRONG)
def test_wrong_plugins(
    arcvit: Arcvit,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    sentence: str,
) -> None:
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "taken.py").write_text(
        "import dataclasses, gain; SPEC = dataclasses.replace(gain.SPEC, name='arc', section='')"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    answer = arcvit("train", "--data.path=x", f"--plugin={target}")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert sentence in answer.err


def test_a_plugin_that_raises_is_named(
    arcvit: Arcvit, short_run: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raising.py").write_text(
        "import dataclasses, gain\n"
        "def build(model, options, head): raise KeyError('fc2')\n"
        "SPEC = dataclasses.replace(gain.SPEC, name='raising', section='', build=build)"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    out = f"--out={tmp_path / 'run'}"
    answer = arcvit("train", *short_run, out, "--plugin=raising:SPEC", "--method=raising")
    assert answer.code == 2
    assert "method 'raising' of --plugin raising:SPEC can't be put on" in answer.err
    assert "KeyError: 'fc2'" in answer.err
    assert not (tmp_path / "run").exists()


def test_installed_packages_bring_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [EntryPoint(n, f"{n}:SPEC", table.ENTRY_POINTS) for n in ("gain", "nowhere")]
    monkeypatch.setattr(table, "_entry_points", lambda: found)
    recipe = parse_recipe(["--data.path=p", "--method=gain", "--gain.start=2"])
    assert (recipe.options.start, recipe.spec.origin) == (2, "package gain")
    assert recipe.to_dict()["method_from"] == "package gain"
    # A broken package stands in the way of its own methods alone.
    with pytest.raises(UserError, match="method 'nowhere' of package nowhere can't be loaded"):
        parse_recipe(["--data.path=p", "--method=nowhere"])
    table._installed.cache_clear()


def test_a_recipe_loads_no_plugin(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump({"data": {"path": "p"}, "plugin": "gain:SPEC"}))
    with pytest.raises(UserError, match="there is no key 'plugin' in a recipe"):
        read_recipe(file)
    assert "gain" not in sys.modules
