"""How tasks stand on all replicas together."""

from collections.abc import Sequence
from dataclasses import replace

from arcvit.serve.registry import Entry
from arcvit.serve.request import TaskStatus

_KNOWN = ("registered", "broken", "unloaded", "ready")
"""States by how much the replica knows of the task that has it."""


def merged_statuses(told: Sequence[Sequence[TaskStatus]]) -> list[TaskStatus]:
    """Each task by name, as the replica has it that knows most of it, and resident on any.

    Args:
        told: the statuses of each replica.
    """
    found: dict[str, list[TaskStatus]] = {}
    for statuses in told:
        for status in statuses:
            found.setdefault(status.name, []).append(status)
    return [
        replace(
            max(found[name], key=lambda status: _KNOWN.index(status.state)),
            resident=any(status.resident for status in found[name]),
        )
        for name in sorted(found)
    ]


def unread_status(entry: Entry) -> TaskStatus:
    """How a task stands for one that reads no adapters."""
    return TaskStatus(
        name=entry.name,
        version=entry.served[-1] if entry.served else None,
        versions=entry.served,
        labels=None,
        state="unloaded" if entry.unloaded else "registered",
        reason="it was unloaded" if entry.unloaded else "",
    )
