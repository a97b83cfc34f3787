"""A toy model on made features: the loop without images or backbone."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from arcvit.engine.checkpoint import Checkpoints
from arcvit.engine.config import EngineConfig, OptimConfig
from arcvit.engine.device import make_accelerator
from arcvit.engine.features import FeatureBank
from arcvit.engine.learner import Learner
from arcvit.engine.loop import Record, Trainer
from arcvit.engine.runtime import Runtime

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
    """Features in clusters: ``features(count, seed=0)``; multilabel: a feature tells each label."""

    def make(count: int, *, seed: int = 0, multilabel: bool = False) -> FeatureBank:
        draws = torch.Generator().manual_seed(seed)
        centres = torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(99))
        labels = torch.arange(count) % CLASSES
        noise = torch.randn(count, WIDTH, generator=draws)
        if multilabel:
            return FeatureBank(noise, (noise[:, :CLASSES] > 0.5).float())
        return FeatureBank(centres[labels] + noise, labels)

    return make


@pytest.fixture
def trainer(toy: Callable[..., Toy]) -> Callable[..., Trainer]:
    """A trainer of a toy model: ``trainer(model, features, optim=..., epochs=..., val=...)``."""

    def make(
        model: Toy,
        bank: FeatureBank,
        *,
        optim: OptimConfig | None = None,
        seed: int = 0,
        val: FeatureBank | None = None,
        checkpoint: Path | None = None,
        prepare: Callable[[Tensor], Tensor] = lambda stored: stored,
        runtime: Runtime | None = None,
        class_weights: Tensor | None = None,
        **engine: object,
    ) -> Trainer:
        config = EngineConfig(**{"precision": "fp32", "device": "cpu", **engine})  # type: ignore[arg-type]
        accelerator = make_accelerator(config, seed)
        torch.manual_seed(seed)
        learner = Learner(
            model=model,
            head=model.head,
            train=bank,
            training_input=prepare,
            val=val,
            evaluation_input=lambda stored: stored,
            class_weights=class_weights,
        )
        return Trainer(
            learner,
            accelerator,
            optim=optim or OptimConfig(lr=0.01),
            engine=config,
            checkpoints=None if checkpoint is None else Checkpoints(checkpoint),
            runtime=runtime,
        )

    return make


@pytest.fixture
def train(trainer: Callable[..., Trainer]) -> Callable[..., list[Record]]:
    """Fit a toy model, as ``trainer`` makes it; the records of its epochs."""
    return lambda *args, **settings: trainer(*args, **settings).fit()
