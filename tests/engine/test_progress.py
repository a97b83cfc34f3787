from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from arcvit.engine import progress
from arcvit.engine.progress import TrainingDisplay


def metrics(epoch: int, **more: Any) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "train_loss": 1.5,
        "train_accuracy": 0.25,
        "images_per_second": 123.4,
        "seconds_left": 7.6,
        "val_accuracy": None,
        **more,
    }


def shown(epochs: int, *, quiet: bool = False, terminal: bool = False) -> str:
    out = StringIO()
    console = Console(file=out, force_terminal=terminal, width=100)
    with TrainingDisplay(console, "arc", epochs=epochs, steps=2, quiet=quiet) as display:
        for epoch in range(1, epochs + 1):
            display.step(2 * epoch, 75.4)
            display.epoch([metrics(epoch)])
    return out.getvalue()


def test_a_line() -> None:
    assert shown(1) == "arc  epoch 1/1  loss 1.5  train 25.0%  123 images/s  8 s left\n"


def test_validation_is_in_the_line() -> None:
    out = StringIO()
    with TrainingDisplay(Console(file=out), "arc", epochs=1, steps=1) as display:
        display.epoch([metrics(1, val_accuracy=0.5)])
    assert "train 25.0%  val 50.0%  123 images/s" in out.getvalue()


@pytest.mark.parametrize("epochs", [1, 2, 19, 20, 21, 50, 100, 1000])
def test_fast_epochs_give_some_lines(epochs: int) -> None:
    lines = shown(epochs).splitlines()
    assert len(lines) <= 21
    assert len(lines) >= min(epochs, 20)
    assert f"epoch 1/{epochs}" in lines[0]
    assert f"epoch {epochs}/{epochs}" in lines[-1]


def test_slow_epochs_give_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10**6, 11))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    assert len(shown(100).splitlines()) == 100


def test_quiet_shows_nothing() -> None:
    assert shown(3, quiet=True) == ""
    assert shown(3, quiet=True, terminal=True) == ""


def test_a_terminal_shows_a_bar_and_leaves_nothing() -> None:
    out = shown(3, terminal=True)
    assert "1:15 3/3 loss 1.5 train 25.0% 123 images/s" in out
    assert "epoch" not in out


def test_the_bar_stops_on_an_error() -> None:
    console = Console(file=StringIO(), force_terminal=True)
    with (
        pytest.raises(RuntimeError, match="broken"),
        TrainingDisplay(console, "arc", epochs=1, steps=1),
    ):
        raise RuntimeError("broken")
    # Rich allows one live display at a time: another one can start.
    with TrainingDisplay(console, "arc", epochs=1, steps=1):
        pass
