"""Names of the files that a bench leaves beside its runs."""

SUITE_FILE = "suite.json"
"""Suite, groups of the tasks in the order of the table, rows: in the folder of the bench."""
DATA_FILE = "data.json"
"""Images of each split, what is odd about them, and a fingerprint: in the folder of a task."""
FAILURES_FILE = "failures.json"
"""Why a task or a row of it couldn't be finished: in the folder of a task."""
