"""What a person sees while a model learns: a bar in a terminal, some lines elsewhere."""

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

_LINES = 20
"""Lines of a run where there is no terminal, beside the first and the last."""
_PAUSE = 10.0
"""Seconds after which there is a line in any case."""


class TrainingDisplay:
    """Shows epoch, loss, accuracy, images per second and the time left.

    Args:
        console: where to show it; not a terminal: about 20 lines a run, or one every 10 seconds.
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
            # What matters least comes last: a narrow terminal cuts it off.
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=8),
                TextColumn("{task.fields[left]}"),
                TextColumn("{task.fields[status]}"),
                console=console,
                transient=True,
            )
        self._task: Any = None
        self._last_line = 0.0

    def __enter__(self) -> "TrainingDisplay":
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(
                self._label, total=self._epochs * self._steps, status="", left=""
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

    def step(self, done: int, seconds_left: float) -> None:
        """After a batch: how many are done in all, and the time that the rest will take."""
        if self._bar is not None:
            minutes, seconds = divmod(round(seconds_left), 60)
            self._bar.update(self._task, completed=done, left=f"{minutes}:{seconds:02d}")

    def epoch(self, history: list[dict[str, Any]]) -> None:
        """After an epoch: the records so far, as in metrics.jsonl."""
        metrics = history[-1]
        narrow = self._bar is not None
        shown = [
            f"{'' if narrow else 'epoch '}{metrics['epoch']}/{self._epochs}",
            f"loss {metrics['train_loss']:.4g}",
        ]
        if "train_accuracy" in metrics:
            shown.append(f"train {metrics['train_accuracy']:.1%}")
        for name, key in (("val", "val_accuracy"), ("val mAP", "val_mAP")):
            if metrics.get(key) is not None:
                shown.append(f"{name} {metrics[key]:.1%}")
        shown.append(f"{metrics['images_per_second']:.0f} images/s")
        if self._bar is not None:
            self._bar.update(self._task, status=" ".join(shown))
        elif not self._quiet and self._line_is_due(metrics["epoch"]):
            self._last_line = time.monotonic()
            shown.append(f"{metrics['seconds_left']:.0f} s left")
            self._console.print("  ".join([self._label, *shown]), highlight=False, soft_wrap=True)

    def _line_is_due(self, epoch: int) -> bool:
        share = epoch * _LINES // self._epochs
        crosses_a_mark = share > (epoch - 1) * _LINES // self._epochs
        waited = time.monotonic() - self._last_line >= _PAUSE
        return epoch == 1 or crosses_a_mark or waited
