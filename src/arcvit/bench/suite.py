"""What a bench runs over: VTAB-1k, FGVC, or tasks of one's own in a YAML file. No torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from arcvit.core.errors import UserError, nearest
from arcvit.core.task import Kind
from arcvit.core.yaml_files import read_yaml
from arcvit.data.catalogue import SUITES, BenchmarkTask, find_task, suite_tasks
from arcvit.data.pixels.preset import PRESETS
from arcvit.data.readers.hub import is_hub_name
from arcvit.data.readers.roots import find_suite

_KEYS = ("name", "path", "group", "task", "preset", "group_pattern", "folds")
_FLAGS = (
    "methods",
    "seeds",
    "search",
    "search_seeds",
    "search_folds",
    "extend_rates",
    "match_params",
)
"""Flags of ``arcvit bench`` that a suite may give."""


@dataclass(frozen=True, kw_only=True)
class SuiteTask:
    """One task of a suite.

    Attributes:
        name: what it is called in tables.
        group: the group whose mean it is part of.
        path: its folder or table, relative to the data root; of a catalogued task its name.
        kind: whether an image has one label or any number of them.
        preset: preprocessing; None: the recipe's.
        group_pattern: what of an image's path tells what it shows; None: nothing does.
        folds: folds of its images that a search validates on; None: its validation split.
        record: its entry in the catalogue of benchmarks; None: a task of one's own.
    """

    name: str
    group: str
    path: str
    kind: Kind = "single"
    preset: str | None = None
    group_pattern: str | None = None
    folds: int | None = None
    record: BenchmarkTask | None = None


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Tasks that are run and reported together.

    Attributes:
        name: vtab, fgvc, or the name of the YAML file.
        tasks: its tasks, or those of them that were chosen, in the order of the table.
        order: the names of all its tasks, in the order of the table.
        benchmark: whether it is one of the benchmarks; a file may be called vtab.yaml.
        recipe: the recipe all tasks build on; None: arcvit train's defaults.
        flags: what it gives of the flags of ``arcvit bench``, as on the command line.
    """

    name: str
    tasks: tuple[SuiteTask, ...]
    order: tuple[str, ...]
    benchmark: bool = False
    recipe: str | None = None
    flags: tuple[str, ...] = ()

    @property
    def groups(self) -> tuple[str, ...]:
        """Its groups, in the order of the table."""
        return tuple(dict.fromkeys(task.group for task in self.tasks))

    def only(self, names: Sequence[str]) -> "Suite":
        """The suite with some of its tasks.

        Raises:
            UserError: it has no task of that name.
        """
        wanted = [self._task(name) for name in names]
        tasks = tuple(task for task in self.tasks if task in wanted)
        return replace(self, tasks=tasks)

    def _task(self, name: str) -> SuiteTask:
        if self.benchmark:
            record = find_task(name, suite=self.name)
            return next(task for task in self.tasks if task.record == record)
        known = {task.name: task for task in self.tasks}
        if name not in known:
            raise UserError(
                f"suite {self.name} has no task {name!r}: expected {', '.join(known)}."
                f"{nearest(name, known)}"
            )
        return known[name]


def load_suite(name: str) -> Suite:
    """``vtab``, ``fgvc``, or the suite in a YAML file.

    Raises:
        UserError: neither, or the file isn't a suite.
    """
    if name in SUITES:
        tasks = tuple(
            SuiteTask(name=task.name, group=task.group, path=task.name, record=task)
            for task in suite_tasks(name)
        )
        return Suite(
            name=name,
            tasks=tasks,
            order=tuple(task.name for task in tasks),
            benchmark=True,
            recipe=f"{name}/vit_b16",
        )
    file = Path(name).expanduser()
    if not file.is_file():
        raise UserError(
            f"there is no suite {name!r}: expected {', '.join(SUITES)} or a YAML file."
            f"{nearest(name, SUITES)}"
        )
    record = read_yaml(file)
    if not isinstance(record, dict) or not isinstance(record.get("tasks"), list):
        raise UserError(f"suite {file} has no list 'tasks': expected entries of name, path, group.")
    _check_keys(record, ("tasks", "recipe", "bench"), f"suite {file}")
    tasks = tuple(_read_task(entry, file) for entry in record["tasks"])
    names = [task.name for task in tasks]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice or not tasks:
        what = f"names {', '.join(twice)} twice" if twice else "is empty"
        raise UserError(f"suite {file} {what}: expected tasks with different names.")
    recipe = _recipe(record.get("recipe"), file)
    flags = _flags(record.get("bench", {}), file)
    return Suite(name=file.stem, tasks=tasks, order=tuple(names), recipe=recipe, flags=flags)


def locate(suite: Suite, root: Path | None) -> dict[str, Path]:
    """Where each task lies, from the root of the file system.

    Raises:
        UserError: the root or tasks aren't there; says which are, and the names that were tried.
    """
    base = Path() if root is None else root.expanduser()
    if not base.is_dir():
        raise UserError(f"--data.root {root} isn't there: expected the folder of the tasks.")
    named = find_suite(base, suite.name).found if suite.benchmark else {}
    found: dict[str, Path] = {}
    missing: list[str] = []
    for task in suite.tasks:
        on_hub = is_hub_name(task.path)
        place = named.get(task.name, base / Path(task.path).expanduser())
        if on_hub or place.exists():
            found[task.name] = Path(task.path) if on_hub else place.absolute()
        else:
            missing.append(" / ".join(task.record.names if task.record else (task.path,)))
    if missing:
        where = f"in {root}" if root is not None else "where the suite says; give --data.root"
        raise UserError(
            f"{len(missing)} of {len(suite.tasks)} tasks aren't {where}: looked for"
            f" {', '.join(missing)}; there: {', '.join(found) or 'none'}. Choose with --tasks."
        )
    return found


def _recipe(named: Any, file: Path) -> str | None:
    """The suite's recipe: a file beside the suite, else a shipped one."""
    if named is not None and not isinstance(named, str):
        raise UserError(f"suite {file}: recipe is {named!r}: expected a file or a shipped recipe.")
    beside = file.parent / (named or "")
    return str(beside) if named and beside.is_file() else named


def _flags(given: Any, file: Path) -> tuple[str, ...]:
    """The suite's own flags of a bench; a search is a file beside the suite or one with a name."""
    if not isinstance(given, dict):
        raise UserError(f"suite {file}: bench is {given!r}: expected flags, as 'seeds: 0,1,2'.")
    _check_keys(given, _FLAGS, f"suite {file}, bench")
    flags = []
    for key, value in given.items():
        if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
            raise UserError(f"suite {file}: bench.{key} is {value!r}: expected text or a number.")
        beside = file.parent / str(value)
        flags.append(f"--{key}={beside if key == 'search' and beside.is_file() else value}")
    return tuple(flags)


def _read_task(entry: Any, file: Path) -> SuiteTask:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise UserError(f"suite {file}: a task is {entry!r}: expected name, path and group.")
    where = f"suite {file}, task {entry['name']!r}"
    _check_keys(entry, _KEYS, where)
    folds = entry.get("folds")
    if folds is not None and (type(folds) is not int or folds < 2):
        raise UserError(f"{where}: folds is {folds!r}: expected a whole number of at least 2.")
    for key, value in entry.items():
        if key == "folds":
            continue
        if not isinstance(value, str) or not value:
            raise UserError(f"{where}: {key} is {value!r}: expected text.")
    if set(entry["name"]) & set("/,") or entry["name"] in (".", ".."):
        raise UserError(f"{where}: expected a name that a folder can have, without a comma.")
    for key in ("path", "group"):
        if key not in entry:
            raise UserError(f"{where} has no {key!r}: expected name, path and group.")
    preset = entry.get("preset")
    if preset is not None and preset not in PRESETS:
        raise UserError(
            f"{where}: preset is {preset!r}: expected one of {', '.join(PRESETS)}."
            f"{nearest(preset, PRESETS)}"
        )
    kind = entry.get("task", "single")
    if kind not in get_args(Kind):
        raise UserError(f"{where}: task is {kind!r}: expected one of {', '.join(get_args(Kind))}.")
    return SuiteTask(kind=kind, **{key: value for key, value in entry.items() if key != "task"})


def _check_keys(record: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in record:
        if key not in known:
            raise UserError(
                f"{where} has an unknown key {key!r}: expected {', '.join(known)}."
                f"{nearest(str(key), known)}"
            )
