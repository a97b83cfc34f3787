"""Which tasks a folder holds, and which of a suite's it lacks."""

from dataclasses import dataclass
from pathlib import Path

from arcvit.core.errors import UserError
from arcvit.data.catalogue import BenchmarkTask, recognise, suite_tasks
from arcvit.data.readers.folders import subfolders
from arcvit.data.readers.layouts import layout_of


@dataclass(frozen=True, kw_only=True)
class SuiteFolder:
    """The tasks of a suite in one folder."""

    root: Path
    """The folder."""
    suite: str
    """``vtab`` or ``fgvc``."""
    found: dict[str, Path]
    """Folder of each task that is there, by the catalogue's name and in its order."""
    missing: tuple[BenchmarkTask, ...]
    """Tasks that are not there under any of their names."""

    def sentence(self) -> str:
        """Which tasks are there, which are not, and under which names they were looked for."""
        total = len(self.found) + len(self.missing)
        there = f"{len(self.found)} of the {total} tasks of {self.suite} are in {self.root}"
        if self.found:
            there += f": {', '.join(self.found)}"
        if not self.missing:
            return f"{there}."
        tried = ", ".join(_with_aliases(task) for task in self.missing)
        return f"{there}. Not there, under any of these names: {tried}."


def find_suite(root: Path, suite: str) -> SuiteFolder:
    """Look for the tasks of a suite directly below a folder, by name or alias.

    Raises:
        UserError: the folder isn't there, a suite that isn't, or two folders for one task.
    """
    if not root.is_dir():
        raise UserError(f"{root} isn't there: expected a folder with a folder for each task.")
    tasks = suite_tasks(suite)
    folder_of: dict[str, Path] = {}
    for folder in subfolders(root):
        task = recognise(folder.name, suite=suite)
        if task is None:
            continue
        if task.name in folder_of:
            raise UserError(
                f"{root} has two folders for {task.name}, '{folder_of[task.name].name}' and"
                f" '{folder.name}': keep one."
            )
        folder_of[task.name] = folder
    return SuiteFolder(
        root=root,
        suite=suite,
        found={task.name: folder_of[task.name] for task in tasks if task.name in folder_of},
        missing=tuple(task for task in tasks if task.name not in folder_of),
    )


def tasks_in(path: Path) -> list[Path]:
    """The task at a path, or the tasks directly below it where it is a folder of tasks."""
    if not path.is_dir() or layout_of(path):
        return [path]
    tasks = [child for child in subfolders(path) if layout_of(child)]
    if not tasks:
        return [path]
    # Beside tasks, a folder of a benchmark's name is one of them, whatever it lacks.
    return [child for child in subfolders(path) if child in tasks or recognise(child.name)]


def _with_aliases(task: BenchmarkTask) -> str:
    return f"{task.name} ({', '.join(task.aliases)})" if task.aliases else task.name
