"""A checkpoint is used whole or not at all: the one before takes its place."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from arcvit.core.errors import UserError
from arcvit.engine.checkpoint import Checkpoints, checkpoints_in
from arcvit.engine.features import FeatureBank
from arcvit.engine.loop import Trainer

Make = Callable[..., Trainer]
Toy = Callable[..., nn.Module]
Features = Callable[..., FeatureBank]

PARTS = (
    "checksums.json",
    "epoch.json",
    "optimizer.bin",
    "random_states_0.pkl",
    "scheduler.bin",
    "trained.safetensors",
)


def lose(file: Path) -> None:
    file.unlink()


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.fixture
def saved(trainer: Make, toy: Toy, features: Features, tmp_path: Path) -> Path:
    """The checkpoints of four epochs, of which two are kept."""
    trainer(toy(), features(16), epochs=4, batch_size=8, checkpoint=tmp_path / "c").fit()
    return tmp_path / "c"


def test_the_last_two_are_kept_whole(saved: Path) -> None:
    assert [folder.name for folder in checkpoints_in(saved)] == ["epoch-3", "epoch-4"]
    assert tuple(sorted(file.name for file in (saved / "epoch-4").iterdir())) == PARTS


def test_any_damage_falls_back_to_the_one_before(saved: Path, tmp_path: Path) -> None:
    for part in PARTS:
        for damage in (lose, cut, empty, flip_a_bit):
            folder = shutil.copytree(saved, tmp_path / f"{part}-{damage.__name__}")
            damage(folder / "epoch-4" / part)
            found = Checkpoints(folder)
            assert found.newest == folder / "epoch-3", (part, damage)
            assert len(found.damaged) == 1
            assert str(folder / "epoch-4") in found.damaged[0]


def test_a_run_that_fell_back_ends_the_same(
    trainer: Make, toy: Toy, features: Features, tmp_path: Path
) -> None:
    settings = {"epochs": 6, "batch_size": 8}
    straight = toy()
    trainer(straight, features(16), **settings).fit()
    folder = tmp_path / "c"
    for keep in (1, 0):  # damaged: the last one; both
        trainer(toy(), features(16), checkpoint=folder, **settings).fit()
        for damaged in checkpoints_in(folder)[keep:]:
            cut(damaged / "trained.safetensors")
        model = toy()
        again = trainer(model, features(16), checkpoint=folder, **settings)
        assert len(again.history) == (5 if keep else 0)
        again.fit()
        assert [path.name for path in checkpoints_in(folder)] == ["epoch-5", "epoch-6"]
        for a, b in zip(model.parameters(), straight.parameters(), strict=True):
            assert torch.equal(a, b)
        shutil.rmtree(folder)


def test_what_was_settled_is_found_again(
    trainer: Make, toy: Toy, features: Features, tmp_path: Path
) -> None:
    made = trainer(toy(), features(16), epochs=1, batch_size=8, checkpoint=tmp_path / "c")
    made._checkpoints.settings["precision"] = "bf16"
    made.fit()
    assert Checkpoints(tmp_path / "c").settings == {"precision": "bf16", "compile": "off"}
    assert Checkpoints(tmp_path / "nothing").settings == {}


def fixed(body: nn.Module) -> None:
    body.requires_grad_(False)


def wider(body: nn.Module) -> None:
    """What is stored could be spread over it."""
    body.bias = nn.Parameter(torch.zeros(2, *body.bias.shape))


@pytest.mark.parametrize("differs", [fixed, wider])
def test_the_checkpoint_of_another_model(
    saved: Path,
    trainer: Make,
    toy: Toy,
    features: Features,
    differs: Callable[[nn.Module], None],
) -> None:
    model = toy()
    differs(model.get_submodule("body"))
    with pytest.raises(UserError, match="epoch-4 doesn't fit this model"):
        trainer(model, features(16), epochs=4, batch_size=8, checkpoint=saved)
