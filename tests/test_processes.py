"""A run that several processes share: the same numbers as of one, and one end for all of them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from arcvit.core.metrics import read_metrics

ROOT = Path(__file__).parents[1]
LAUNCHER = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
FLAGS = (
    *("--engine.epochs=2", "--engine.batch_size=16", "--engine.device=cpu", "--engine.track=[]"),
    *("--arc.arc_dropout=0", "--quiet"),
)
EQUAL = ("--engine.precision=fp32", "--data.augment=none", "--engine.keep_checkpoint=true")

pytestmark = pytest.mark.slow


def ran(*command: object) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=600)


def ours(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith("arcvit: ")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of the same recipe in one process and in two: 50 images are 3 batches and 2 images."""
    folder = tmp_path_factory.mktemp("processes")
    script = ROOT / "benchmarks" / "processes.py"
    done = ran(sys.executable, script, "--folder", folder, "--images=50", *FLAGS)
    assert done.returncode == 0, done.stderr
    return folder


def test_two_processes_train_as_one_and_send_the_adapter_alone(runs: Path) -> None:
    one, two = (json.loads((runs / f"of_{n}.json").read_text()) for n in (1, 2))
    for name, curve in one["curves"].items():
        assert two["curves"][name] == pytest.approx(curve, abs=1e-5)
    for name in ("test_accuracy", "trained", "adapter_bytes"):
        assert two[name] == one[name]
    trained = one["trained"]
    assert 10 * trained < two["processes"][0]["whole"]
    assert [p["optimized"] for p in two["processes"]] == [trained] * 2
    assert [p["steps"] for p in two["processes"]] == [2 * 4] * 2
    assert [p["sent"] for p in two["processes"]] == [2 * 4 * 4 * trained] * 2
    sizes = two["checkpoint_bytes"]
    for file, each in (("trained.safetensors", 4), ("optimizer.bin", 2 * 4)):
        assert each * trained < sizes[file] < each * trained + 30_000


def test_evaluation_is_told_once_and_the_same(runs: Path) -> None:
    arguments = ["-m", "arcvit.cli.main", "evaluate", runs / "of_2", "--json"]
    one, two = ran(sys.executable, *arguments), ran(*LAUNCHER, *arguments)
    assert two.returncode == 0, two.stderr
    (alone,), (together,) = one.stdout.splitlines(), two.stdout.splitlines()
    expected, found = json.loads(alone), json.loads(together)
    assert found.pop("loss") == pytest.approx(expected.pop("loss"), abs=1e-5)
    assert found == expected


BROKEN = """
import os, signal, sys
from arcvit.cli.main import main
from arcvit.core.errors import UserError
from arcvit.engine.loop import Trainer

epoch = Trainer.epoch

def broken(self):
    if os.environ["RANK"] == "1" and len(self.history) == 1:
        {what}
    return epoch(self)

Trainer.epoch = broken
sys.exit(main())
"""
ENDS = [
    # What comes first: the lost connection, or the launcher's SIGTERM.
    ("os.kill(os.getpid(), signal.SIGKILL)", "another process.* has ended|terminated", "-9"),
    ("raise UserError('the second one stops.')", "the second one stops[.]", "2"),
]


@pytest.mark.parametrize(("what", "sentence", "code"), ENDS)
def test_one_that_ends_ends_all_with_its_reason(
    runs: Path, tmp_path: Path, what: str, sentence: str, code: str
) -> None:
    script = tmp_path / "broken.py"
    script.write_text(BROKEN.format(what=what))
    out = tmp_path / "run"
    flags = (*FLAGS, *EQUAL, f"--data.path={runs / 'photos'}", f"--out={out}")
    done = ran(*LAUNCHER, script, "train", *flags)
    assert done.returncode != 0
    (said,) = ours(done.stderr)
    assert re.search(sentence, said)
    assert f"exitcode  : {code}" in done.stderr
    assert "Traceback" not in done.stderr.split("torch/distributed/elastic")[0]
    if code != "-9":
        return
    again = ran(*LAUNCHER, "-m", "arcvit.cli.main", "train", *flags)
    assert again.returncode == 0, again.stderr
    whole, resumed = (
        [
            {name: epoch[name] for name in epoch if "second" not in name}
            for epoch in read_metrics(run)
        ]
        for run in (runs / "of_2", out)
    )
    assert resumed == whole


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["train", "--engine.batch_size=15"], "shared by 2 processes: expected a multiple of 2"),
        (["predict", "run", "a.png"], "predict runs in one process, and 2 were started"),
    ],
)
def test_what_is_wrong_is_said_once(
    runs: Path, tmp_path: Path, command: list[str], sentence: str
) -> None:
    if command[0] == "train":
        command = [*command, f"--data.path={runs / 'photos'}", f"--out={tmp_path / 'run'}"]
    done = ran(*LAUNCHER, "-m", "arcvit.cli.main", *command)
    (said,) = ours(done.stderr)
    assert sentence in said
    assert not (tmp_path / "run").exists()
