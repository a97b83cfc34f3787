"""A Ray cluster whose node dies, jobs under submitit that are killed: nothing lost, nothing twice.

Both libraries are extras; the workers are processes of this machine.
"""

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.executors.choose import executor_flags, make_executor
from arcvit.executors.job import Call, Job, Outcome
from arcvit.executors.schedule import run_jobs

# What submitit starts here and we kill, it doesn't wait for.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

RAY = """
import threading
from contextlib import closing
from ray.cluster_utils import Cluster
from arcvit.executors.job import Call, Job
from arcvit.executors.on_ray import RayExecutor
from arcvit.executors.schedule import run_jobs

cluster = Cluster(True, head_node_args={"num_cpus": 0, "include_dashboard": False})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
answers = []

def keep(outcome):
    if not answers:  # while the others' jobs run
        threading.Timer(0.5, cluster.remove_node, (nodes[0], False)).start()
    answers.append(outcome.value)
    return []

def job(name):
    asked = {"cmd": f"sleep 2; echo {name} $OMP_NUM_THREADS"}
    return Job(name=name, call=Call(function="subprocess:getoutput", arguments=asked), then=keep)

said = []
with closing(RayExecutor(address=cluster.address)) as executor:
    print("size", executor.size)
    run_jobs([job(name) for name in "abcdef"], executor, said.append)
print("answers", *sorted(answers))
print("said", *said)
cluster.shutdown()
"""


@pytest.mark.slow
def test_a_node_of_ray_dies() -> None:
    pytest.importorskip("ray")
    # In a process of its own: Ray looks hosts up and leaves sockets behind.
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(RAY)],
        capture_output=True,
        text=True,
        timeout=300,
        env={k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"},
    )
    lines = done.stdout.splitlines()
    assert "size 2" in lines, done.stderr
    assert "answers a 1 b 1 c 1 d 1 e 1 f 1" in lines
    (said,) = [line for line in lines if line.startswith("said")]
    assert said.count("another worker takes it") == 1


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (
            ["--slurm.cpus_per_task=many"],
            "--slurm.cpus_per_task is 'many': expected a whole number",
        ),
        (["--slurm.comment=["], "--slurm.comment is '\\['"),
        (["--slurm.no_such=1"], "--slurm: .*no_such"),
    ],
)
def test_wrong_settings_of_slurm(tmp_path: Path, flags: list[str], sentence: str) -> None:
    pytest.importorskip("submitit")
    _, settings = executor_flags(["--slurm.cluster=local", *flags])
    with pytest.raises(UserError, match=sentence):
        make_executor("slurm", 1, settings, tmp_path)


@pytest.mark.slow
def test_a_worker_of_submitit_dies(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    _, settings = executor_flags(["--slurm.cluster=local", "--slurm.timeout_min", "5"])
    answers: list[Outcome] = []
    said: list[str] = []

    def keep(outcome: Outcome) -> list[Job]:
        answers.append(outcome)
        return []

    calls = {
        "deadly": Call(function="os:_exit", arguments={"status": 3}),
        "good": Call(function="os:getenv", arguments={"key": "OMP_NUM_THREADS"}),
    }
    jobs = [Job(name=name, call=call, then=keep) for name, call in calls.items()]
    with closing(make_executor("slurm", 1, settings, tmp_path)) as executor:
        run_jobs(jobs, executor, said.append)
        assert (tmp_path / ".workers").is_dir()
    assert not (tmp_path / ".workers").exists()
    assert [outcome.value for outcome in answers if outcome.lost is None] == ["1"]
    (lost,) = [outcome for outcome in answers if outcome.lost]
    assert lost.lost == "machine" and "job " in str(lost.failure)


@pytest.mark.slow
def test_workers_of_submitit_end_with_their_owner(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    script = f"""
from pathlib import Path
from arcvit.executors.on_slurm import SlurmExecutor
executor = SlurmExecutor(1, Path({str(tmp_path)!r}), {{"cluster": "local"}})
executor.wait()
print(executor._jobs["worker 1"]._process.pid, flush=True)
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        worker = int(owner.stdout.readline())
        owner.send_signal(signal.SIGKILL)
    _, settings = executor_flags(["--slurm.cluster=local"])
    with closing(make_executor("slurm", 1, settings, tmp_path)) as executor:
        executor.free()  # begins, and so clears away what the first one left
        end = time.monotonic() + 20
        while Path(f"/proc/{worker}/cmdline").exists() and time.monotonic() < end:
            time.sleep(0.1)
            if not Path(f"/proc/{worker}/cmdline").read_bytes():
                break
        else:
            assert not Path(f"/proc/{worker}/cmdline").exists()


@pytest.mark.parametrize(
    ("flags", "kind", "sentence"),
    [
        (["--ray.adress=x"], "ray", "there is no flag --ray.adress: expected some of address"),
        (["--ray.num_gpus=half"], "ray", "--ray.num_gpus is 'half': expected a number"),
        (["--ray.num_gpus=1"], "local", "--ray.num_gpus needs --executor ray."),
        (["--slurm.partition"], "slurm", "--slurm.partition has no value after it."),
    ],
)
def test_wrong_flags(flags: list[str], kind: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refusal:
        _, settings = executor_flags(flags)
        make_executor(kind, None, settings, tmp_path)
    assert str(refusal.value).startswith(sentence)


@pytest.mark.slow
def test_a_setting_that_submitit_does_not_know(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    with pytest.raises(UserError, match=r"--slurm: .*partion"):
        make_executor("slurm", 1, {"slurm": {"cluster": "local", "partion": "x"}}, tmp_path)
