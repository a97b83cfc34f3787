"""The records of epochs, and which runs learned nothing."""

import math
from pathlib import Path
from typing import Any

import pytest

from arcvit.core.metrics import learned_nothing, read_metrics, write_metrics


def test_metrics_are_written_whole(tmp_path: Path) -> None:
    write_metrics(tmp_path, [{"epoch": 1}, {"epoch": 2, "val_loss": None}])
    write_metrics(tmp_path, [{"epoch": 1, "val_loss": None}])
    assert read_metrics(tmp_path) == [{"epoch": 1, "val_loss": None}]
    write_metrics(tmp_path, [{"val_loss": float("nan")}])
    assert read_metrics(tmp_path) == [{"val_loss": None}]


def test_a_loss_that_was_not_finite_learned_nothing() -> None:
    epochs: list[dict[str, Any]] = [{"train_loss": 1.0}, {"train_loss": None}]
    assert "ended at nan, after 1" in str(learned_nothing(epochs, math.log(2)))


@pytest.mark.parametrize("content", [None, b"{", b"\xff"])
def test_what_can_not_be_read_has_no_epochs(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "metrics.jsonl").write_bytes(content)
    assert read_metrics(tmp_path) == []


# ln 16 = 2.773, ln 2 = 0.693
@pytest.mark.parametrize(
    ("losses", "classes", "nothing"),
    [
        ((2.75, 2.98, 3.34, 2.73), 16, True),  # ruined in the second epoch
        ((2.80, 0.9, 2.76), 16, True),  # ruined after it had learned
        ((9.7, 2.77), 16, True),  # began badly, ended at guessing
        ((2.78, 2.52), 16, False),  # a linear probe on a hard task
        ((2.75, 0.2), 16, False),
        ((0.70, 0.69), 2, True),
        ((0.05, 0.01), 2, False),
        ((2.77,), 16, False),  # one epoch: nothing to compare
        ((), 16, False),
        ((0.0, 0.0), 1, False),
    ],
)
def test_runs_that_learned_nothing(losses: tuple[float, ...], classes: int, nothing: bool) -> None:
    epochs = [{"train_loss": loss} for loss in losses]
    assert (learned_nothing(epochs, math.log(classes)) is not None) == nothing


def test_the_sentence_names_the_losses() -> None:
    epochs = [{"train_loss": 2.752}, {"train_loss": 2.732}]
    assert learned_nothing(epochs, math.log(16)) == (
        "learned nothing: the training loss ended at 2.73, after 2.75 in the first epoch"
        " (2.77 is guessing); try another --optim.lr"
    )
