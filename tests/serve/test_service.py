"""One batch for many tasks: the same answers as each task alone gives, whatever comes and goes."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import arcvit
from arcvit.serve.request import Answers, Images

from .conftest import MakeAdapter, StartService, run

TASKS = {
    "two": {"labels": 2, "r": 8},
    "many": {"labels": 81, "r": 20, "known": 0.1},
    "plus": {"labels": 7, "variant": "arc_plus", "r": 6, "known": 0.0},
    "att": {"labels": 3, "variant": "arc_att", "r": 30},
    "own": {"labels": 3, "share": "none", "up_projection": "separate", "r": 3},
    "full": {"labels": 4, "core": "full", "r": 5, "adapter_bias": False},
    "linear": {"labels": 5, "method": "linear"},
    "multi": {"labels": 4, "multilabel": True},
}


def alone(folder: Path, files: list[bytes]) -> list[tuple[list[str], list[float], bool | None]]:
    classifier = arcvit.load(folder, device="cpu")
    pictures = [Image.open(io.BytesIO(file)) for file in files]
    every = classifier.predict(pictures, top=len(classifier.labels))
    return [([r.label for r in p.top], [r.probability for r in p.top], p.known) for p in every]


def check(answers: Answers, folder: Path, files: list[bytes]) -> None:
    for row, (labels, probabilities, known) in zip(answers.rows, alone(folder, files), strict=True):
        assert row.error is None
        assert row.probabilities.dtype == np.float32
        found = dict(zip(row.labels, row.probabilities.tolist(), strict=True))
        assert [found[label] for label in labels] == pytest.approx(probabilities, abs=1e-5)
        assert row.known == known


def test_a_mixed_batch_answers_as_each_task_alone(
    make_adapter: MakeAdapter,
    start: StartService,
    photos_as_files: list[bytes],
    eight: Images,
    tmp_path: Path,
) -> None:
    for seed, (name, about) in enumerate(TASKS.items()):
        make_adapter(tmp_path / name, seed=seed, **about)
    service = start(tmp_path, max_batch=64, max_wait=0.05)
    for _ in range(2):
        answers = run(service.predict_many(list(TASKS), eight))
        assert list(answers) == list(TASKS)
        for name in TASKS:
            check(answers[name], tmp_path / name, photos_as_files)
    # The batches did mix, or this would have shown nothing.
    assert service.stats("two").batches < 2 * len(TASKS)
    for name in ("two", "plus"):
        check(run(service.predict(name, eight)), tmp_path / name, photos_as_files)
