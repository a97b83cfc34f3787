"""What a person sees while a model learns: a bar in a terminal, a line an epoch elsewhere."""

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)


class TrainingDisplay:
    """Shows epoch, loss, accuracy, images per second and the time left.

    Args:
        console: where to show it; not a terminal: one line an epoch.
        label: what is being learned.
        epochs: epochs in all.
        steps: batches in an epoch.
        quiet: show nothing.
    """

    def __init__(
        self, console: Console, label: str, *, epochs: int, steps: int, quiet: bool = False
    ) -> None:
        self._console = console
        self._label = label
        self._epochs = epochs
        self._steps = steps
        self._quiet = quiet
        self._bar: Progress | None = None
        if console.is_terminal and not quiet:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[status]}"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
        self._task: Any = None

    def __enter__(self) -> "TrainingDisplay":
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(
                self._label, total=self._epochs * self._steps, status=""
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self, done: int) -> None:
        """After a batch: how many are done in all."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done)

    def epoch(self, metrics: dict[str, Any]) -> None:
        """After an epoch: its record, as in metrics.jsonl."""
        shown = [
            f"epoch {metrics['epoch']}/{self._epochs}",
            f"loss {metrics['train_loss']:.4f}",
            f"train {metrics['train_accuracy']:.1%}",
        ]
        if metrics.get("val_accuracy") is not None:
            shown.append(f"val {metrics['val_accuracy']:.1%}")
        shown.append(f"{metrics['images_per_second']:.0f} images/s")
        status = "  ".join(shown)
        if self._bar is not None:
            self._bar.update(self._task, status=status)
        elif not self._quiet:
            left = f"{metrics['seconds_left']:.0f} s left"
            self._console.print(f"{self._label}  {status}  {left}", highlight=False, soft_wrap=True)
