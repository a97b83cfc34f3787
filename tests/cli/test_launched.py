from datetime import timedelta

import pytest
from torch.distributed import TCPStore

from arcvit.cli.launched import check_launch, is_first_to_end, is_lost_process
from arcvit.core.errors import UserError

TORCHRUN = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1"}
# What accelerate launch --cpu sets with --num_processes 2 and 1.
TWO_OF_ACCELERATE = {"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1"}
ONE_OF_ACCELERATE = {"ACCELERATE_USE_CPU": "True"}


@pytest.fixture(autouse=True)
def launched(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*TORCHRUN, *TWO_OF_ACCELERATE):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("command", "environment", "refusal"),
    [
        ("train", {}, None),
        ("predict", {}, None),
        ("train", TORCHRUN, None),
        ("evaluate", TORCHRUN, None),
        ("train", TORCHRUN | TWO_OF_ACCELERATE, None),
        ("predict", TORCHRUN | {"WORLD_SIZE": "1"}, None),
        ("predict", TORCHRUN, "arcvit predict runs in one process, and 2 were started"),
        ("bench", TORCHRUN, "expected arcvit bench without a launcher"),
        ("train", TWO_OF_ACCELERATE, "torchrun --nproc_per_node 2 --no-python arcvit train"),
        ("train", ONE_OF_ACCELERATE, None),
    ],
)
def test_launches(
    launched: pytest.MonkeyPatch, command: str, environment: dict[str, str], refusal: str | None
) -> None:
    for name, value in environment.items():
        launched.setenv(name, value)
    if refusal is None:
        check_launch(command)
        return
    with pytest.raises(UserError, match=refusal):
        check_launch(command)


def test_the_first_reason_to_end_is_told(launched: pytest.MonkeyPatch) -> None:
    assert is_first_to_end() and is_first_to_end()  # alone
    store = TCPStore("127.0.0.1", 0, is_master=True, timeout=timedelta(seconds=10))
    for name, value in TORCHRUN.items():
        launched.setenv(name, value)
    launched.setenv("MASTER_PORT", str(store.port))
    assert is_first_to_end() and is_first_to_end()  # no store to ask
    launched.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    assert [is_first_to_end() for _ in range(3)] == [True, False, False]
    launched.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert is_first_to_end()


@pytest.mark.parametrize(
    ("processes", "sentence", "lost"),
    [
        ("2", "[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1", True),
        ("1", "Connection closed by peer", False),
        ("2", "mat1 and mat2 shapes cannot be multiplied", False),
    ],
)
def test_lost_processes(
    launched: pytest.MonkeyPatch, processes: str, sentence: str, lost: bool
) -> None:
    launched.setenv("WORLD_SIZE", processes)
    assert is_lost_process(RuntimeError(sentence)) is lost
