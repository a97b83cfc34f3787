"""Optional dependencies: declared, and told in one sentence where they aren't installed."""

import re
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest

from arcvit.cli.main import main
from arcvit.core.errors import UserError
from arcvit.core.extras import EXTRAS, require
from arcvit.data.readers.dogs import read_mat_list
from arcvit.engine.tracking import check_trackers

DECLARED = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
# Not what a user installs for a feature.
COLLECTIONS = {"all", "docs", "dev"}


@pytest.fixture
def hidden(monkeypatch: pytest.MonkeyPatch):
    def hide(extra: str) -> None:
        for module in EXTRAS[extra]:
            monkeypatch.setitem(sys.modules, module, None)

    return hide


def test_every_extra_is_declared_and_every_declared_one_is_known() -> None:
    assert set(DECLARED["optional-dependencies"]) - COLLECTIONS == set(EXTRAS)


def test_every_dependency_has_a_lower_and_an_upper_bound() -> None:
    every = [*DECLARED["dependencies"], *chain(*DECLARED["optional-dependencies"].values())]
    ours = ("arcvit", "types-")  # stubs follow what they describe
    loose = [d for d in every if not d.startswith(ours) and not (">=" in d and "<" in d)]
    assert not loose


@pytest.mark.parametrize("extra", sorted(EXTRAS))
def test_a_hidden_module_is_told_in_one_sentence(extra: str, hidden) -> None:
    hidden(extra)
    with pytest.raises(UserError) as caught:
        require(extra, "this")
    sentence = str(caught.value)
    needed = sentence.removeprefix("this needs ").partition(", which ")[0]
    names = [name.replace("_", "-") for name in EXTRAS[extra]]
    assert re.split(", | and ", needed) == names
    assert sentence.endswith(f"run pip install 'arcvit[{extra}]'.")


@pytest.mark.parametrize("command", [["report", "runs"], ["demo"]])
def test_commands_that_draw(command: list[str], hidden, capsys) -> None:
    hidden("bench")
    assert main(command) == 2
    expected = f"arcvit {command[0]} needs matplotlib and jinja2, which aren't installed"
    assert expected in capsys.readouterr().err


def test_matlab_lists(hidden, tmp_path: Path) -> None:
    hidden("matlab")
    with pytest.raises(UserError, match="scipy"):
        read_mat_list(tmp_path / "train_list.mat")


@pytest.mark.parametrize("tracker", ["tensorboard", "wandb", "mlflow"])
def test_trackers(tracker: str, hidden) -> None:
    hidden(tracker)
    with pytest.raises(UserError, match=f"engine.track={tracker} needs {tracker}"):
        check_trackers([tracker])


@pytest.mark.parametrize("extra", ["datasets", "webdataset"])
def test_readers(extra: str, hidden, tmp_path: Path) -> None:
    from arcvit.data.readers import hub, shards

    hidden(extra)
    with pytest.raises(UserError, match=f"needs {extra}"):
        if extra == "datasets":
            hub._load("hf:somebody/something")
        else:
            next(shards._samples([tmp_path / "train-0.tar"], lambda _: None))
