"""One process at a time, and the next one after one that died."""

import os
import subprocess
import sys
import threading
from pathlib import Path

from arcvit.core.turns import one_at_a_time

HOLD = """
import sys, time
from pathlib import Path
from arcvit.core.turns import one_at_a_time
with one_at_a_time(Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(60)
"""


def test_a_process_that_dies_lets_the_next_one_in(tmp_path: Path) -> None:
    file = tmp_path / "new" / "lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(file)], stdout=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"in\n"
    entered = threading.Event()

    def enter() -> None:
        with one_at_a_time(file):
            entered.set()

    waiting = threading.Thread(target=enter)
    waiting.start()
    assert not entered.wait(0.1)
    os.kill(holder.pid, 9)
    holder.communicate()
    waiting.join(10)
    assert entered.is_set()
    assert list(file.parent.iterdir()) == []
