"""A toy model on made features: the loop without images or backbone."""

from collections.abc import Callable
from io import StringIO

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from arcvit.engine.config import EngineConfig, OptimConfig
from arcvit.engine.device import make_accelerator
from arcvit.engine.features import FeatureBank
from arcvit.engine.loop import Fit, fit
from arcvit.engine.profile import Profile
from arcvit.engine.progress import TrainingDisplay

WIDTH, CLASSES = 6, 3


class Toy(nn.Module):
    """Two layers with dropout between them."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.body = nn.Linear(WIDTH, 8)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(torch.tanh(self.body(x))))
        return logits


@pytest.fixture
def toy() -> Callable[..., Toy]:
    """The toy model, the same each time."""

    def make(dropout: float = 0.0) -> Toy:
        torch.manual_seed(0)
        return Toy(dropout)

    return make


@pytest.fixture
def features() -> Callable[..., FeatureBank]:
    """Features in clusters: ``features(count, seed=0)``."""

    def make(count: int, *, seed: int = 0) -> FeatureBank:
        draws = torch.Generator().manual_seed(seed)
        centres = torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(99))
        labels = torch.arange(count) % CLASSES
        noise = torch.randn(count, WIDTH, generator=draws)
        return FeatureBank(centres[labels] + noise, labels)

    return make


@pytest.fixture
def train(toy: Callable[..., Toy]) -> Callable[..., Fit]:
    """Fit a toy model: ``train(model, features, lr=..., epochs=..., validate=...)``."""

    def run(
        model: Toy,
        bank: FeatureBank,
        *,
        optim: OptimConfig | None = None,
        seed: int = 0,
        validate: Callable[..., dict[str, float]] | None = None,
        on_epoch: Callable[..., None] | None = None,
        checkpoint_folder: object = None,
        prepare: Callable[[Tensor], Tensor] = lambda stored: stored,
        profiler: Profile | None = None,
        **engine: object,
    ) -> Fit:
        config = EngineConfig(**{"precision": "fp32", "device": "cpu", "track": [], **engine})  # type: ignore[arg-type]
        accelerator = make_accelerator(config, seed)
        display = TrainingDisplay(
            Console(file=StringIO()), "toy", epochs=config.epochs, steps=1, quiet=True
        )
        torch.manual_seed(seed)
        return fit(
            model,
            model.head,
            bank,
            prepare,
            accelerator,
            optim=optim or OptimConfig(lr=0.01),
            engine=config,
            display=display,
            checkpoint_folder=checkpoint_folder,  # type: ignore[arg-type]
            validate=validate,
            on_epoch=on_epoch,
            profile=profiler,
        )

    return run
