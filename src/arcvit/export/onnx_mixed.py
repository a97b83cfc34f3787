"""Several tasks in one batch of a graph that takes adapters as inputs. Needs nothing but numpy."""

from collections.abc import Mapping, Sequence

import numpy as np

Task = Mapping[str, np.ndarray]
"""What a graph is given for a task, by the names of its inputs."""


def side_by_side(
    tasks: Sequence[Task],
    task_of_row: Sequence[int],
    shapes: Mapping[str, Sequence[int | str]],
) -> dict[str, np.ndarray]:
    """Several tasks as one, whose rows have coefficients and bias of their own.

    Projections stand beside one another along their rank, and a row has zeros for the coefficients
    of other tasks. Heads stand beside one another too: the labels of a task follow those of the
    task before it in the logits.

    Args:
        tasks: inputs of each.
        task_of_row: for each image the place of its task in ``tasks``.
        shapes: of all inputs, as the graph's metadata has them under ``inputs``.
    """
    rows = np.asarray(task_of_row)
    lengths = [_lengths(task, shapes) for task in tasks]
    names = dict.fromkeys(axis for shape in shapes.values() for axis in shape)
    ends = {axis: np.cumsum([0, *(own.get(axis, 0) for own in lengths)]) for axis in names}

    def total(axis: int | str) -> int:
        if axis == "rows":
            return len(rows)
        return max(1, int(ends[axis][-1])) if isinstance(axis, str) else axis

    def place_in(axis: int | str, task: int) -> slice | np.ndarray:
        if axis == "rows":
            return np.flatnonzero(rows == task)
        return slice(*ends[axis][task : task + 2]) if isinstance(axis, str) else slice(None)

    joined = {}
    for name, shape in shapes.items():
        joined[name] = np.zeros([total(axis) for axis in shape], np.float32)
        for place, task in enumerate(tasks):
            if name in task:
                joined[name][tuple(place_in(axis, place) for axis in shape)] = task[name]
    return joined


def _lengths(task: Task, shapes: Mapping[str, Sequence[int | str]]) -> dict[int | str, int]:
    """How long the axes are along which tasks stand beside one another, by their names."""
    return {
        axis: length
        for name, value in task.items()
        for axis, length in zip(shapes[name], value.shape, strict=True)
        if isinstance(axis, str)
    }
