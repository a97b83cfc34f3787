"""Names of the files that a bench leaves beside its runs."""

SUITE_FILE = "suite.json"
"""Suite, groups of the tasks, methods: in the folder of the bench."""
TASK_FILE = "task.json"
"""Images of each split and what differs from the benchmark: in the folder of a task."""
