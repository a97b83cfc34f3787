from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.engine.config import EngineConfig
from arcvit.engine.device import make_accelerator
from arcvit.engine.tracking import check_trackers, tracking


def test_trackers_that_arent_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"engine\.track=wandb needs wandb, which isn't installed"):
        check_trackers(["wandb", "mlflow"])
    check_trackers([])


def test_tensorboard_writes_into_the_run(tmp_path: Path) -> None:
    accelerator = make_accelerator(EngineConfig(precision="fp32", device="cpu"), 0)
    with tracking(accelerator, ["tensorboard"], tmp_path, {"seed": 0}):
        accelerator.log({"loss": 1.0}, step=1)
    (file,) = tmp_path.iterdir()
    assert file.name == "tensorboard"
    (events,) = file.iterdir()
    assert b"loss" in events.read_bytes()


def test_no_tracker_writes_nothing(tmp_path: Path) -> None:
    accelerator = make_accelerator(EngineConfig(precision="fp32", device="cpu"), 0)
    with tracking(accelerator, [], tmp_path, {}):
        accelerator.log({"loss": 1.0}, step=1)
    assert not list(tmp_path.iterdir())


def test_trackers_finish_on_an_error(tmp_path: Path) -> None:
    accelerator = make_accelerator(EngineConfig(precision="fp32", device="cpu"), 0)
    finished = []
    with (
        pytest.raises(RuntimeError, match="broken"),
        tracking(accelerator, ["tensorboard"], tmp_path, {}),
    ):
        (tracker,) = accelerator.trackers
        finish = tracker.finish
        tracker.finish = lambda: (finish(), finished.append(True))
        raise RuntimeError("broken")
    assert finished == [True]
