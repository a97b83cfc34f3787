"""Names of the files that a bench leaves beside its runs."""

SUITE_FILE = "suite.json"
"""Suite, groups of the tasks in the order of the table, rows: in the folder of the bench."""
DATA_FILE = "data.json"
"""Images of each split, what is odd about them, and a fingerprint: in the folder of a task."""
FAILURES_FILE = "failures.json"
"""Why a task or a row of it couldn't be finished: in the folder of a task."""
RUINED_FILE = "ruined.json"
"""Seeds of a row without a result, as their loss wasn't finite: in the folder of a task."""
BENCH_FILES = (
    SUITE_FILE,
    *(f"*/{name}" for name in (DATA_FILE, FAILURES_FILE, RUINED_FILE)),
    "*/*/search/choice.json",
)
"""What belongs to no run, as patterns from the folder of the bench."""
