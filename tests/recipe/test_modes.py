"""A run with compiled blocks, captured steps and frozen weights in bf16 is the run without."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from arcvit.core.metrics import read_metrics
from arcvit.engine import captured, mode
from arcvit.engine.runtime import Runtime
from arcvit.recipe import execute, settle
from arcvit.recipe.parser import parse_recipe
from arcvit.recipe.run import Run

# Dynamo looks at the gradient of tensors that are no leaves, and hides the warning itself.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor"),
]

METHODS = {
    "arc": ("--arc.arc_dropout=0",),
    "lora": (),
    "vpt": ("--vpt.dropout=0",),
    "ssf": (),
    "full": ("--optim.lr=0.001",),
}


@pytest.fixture
def captures_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU that captures steps: the stand-in calls them again. Nothing needs a C++ compiler."""

    def runtime(*args: Any, **settings: Any) -> Runtime:
        return Runtime(*args, backend="aot_eager", **settings)

    monkeypatch.setattr(execute, "check_modes", lambda engine, accelerator: None)
    monkeypatch.setattr(mode, "_why_not_captured", lambda *args: None)
    monkeypatch.setattr(settle, "Runtime", runtime)
    monkeypatch.setattr(captured, "recorded", lambda function: function)


@pytest.mark.usefixtures("captures_anywhere")
@pytest.mark.parametrize("method", METHODS)
def test_every_method(short_run: tuple[str, ...], tmp_path: Path, method: str) -> None:
    given = [flag for flag in short_run if flag != "--quiet" and "precision" not in flag]
    given += ["--engine.precision=bf16", "--engine.device=cpu", "--engine.batch_size=20"]
    given += ["--engine.accumulate=2", f"--method={method}", *METHODS[method]]

    def curves(name: str, *flags: str) -> list[list[float]]:
        folder, console = tmp_path / name, Console(file=StringIO())
        result = execute.execute(Run(parse_recipe([*given, *flags]), folder), console)
        records = read_metrics(folder)
        kinds = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr")
        return [[record[kind] for record in records] for kind in kinds] + [[result.test_accuracy]]

    plain = curves("plain", "--engine.compile=off")
    found = curves("graph", "--engine.compile=graph", "--engine.frozen=bf16")
    for one, other in zip(plain, found, strict=True):
        assert other == pytest.approx(one, rel=1e-3)
