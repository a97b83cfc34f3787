"""The settings that a search chose, by task and row, as a file that a bench runs again. No torch.

cifar:
  arc: {optim.lr: 0.005}
  lora:r=2: {optim.lr: 0.002}
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from arcvit.bench.rows import BenchRow
from arcvit.core.errors import UserError
from arcvit.core.yaml_files import read_yaml
from arcvit.sweep.space import Settings

SETTINGS_FILE = "settings.yaml"
Chosen = Mapping[str, Mapping[str, Settings]]
"""Settings by the name of the task and that of the row."""


def settings_text(chosen: Chosen) -> str:
    """Settings as YAML."""
    head = "# What searches chose: arcvit bench SUITE --settings FILE runs it without a search.\n"
    plain = {task: {row: dict(s) for row, s in rows.items()} for task, rows in chosen.items()}
    return head + yaml.safe_dump(plain, sort_keys=False, width=100)


def read_settings(file: Path, tasks: Sequence[str], rows: Sequence[BenchRow]) -> Chosen:
    """The settings in a file, of the tasks and rows to run.

    A row that is told apart by its backbone may stand there under its method alone.

    Raises:
        UserError: the file isn't there, isn't YAML of that kind, or lacks a task or row.
    """
    if not file.is_file():
        raise UserError(f"--settings {str(file)!r} isn't there: arcvit report writes one.")
    record = read_yaml(file)
    found: dict[str, dict[str, Settings]] = {}
    for task in tasks:
        of_task = record.get(task) if isinstance(record, dict) else None
        for row in rows:
            settings = None
            if isinstance(of_task, dict):
                settings = of_task.get(str(row.name), of_task.get(row.name.method))
            if not isinstance(settings, dict) or not all(isinstance(key, str) for key in settings):
                raise UserError(
                    f"{file} has no settings of {row.name} on {task}: expected"
                    f" '{task}: {{\"{row.name}\": {{optim.lr: 0.005}}}}' in it."
                )
            found.setdefault(task, {})[str(row.name)] = settings
    return found
