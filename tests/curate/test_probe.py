from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from arcvit.curate.probe import INVERSE_PENALTY, Probe, folds_of, learnable, out_of_fold
from arcvit.data.task import ImageTask, Split

CLASSES, EACH = 3, 10


def blobs(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(seed)
    labels = np.repeat(np.arange(CLASSES), EACH)
    return draws.normal(3 * np.eye(CLASSES, 5)[labels], 1).astype(np.float32), labels


def task_of(labels: np.ndarray) -> ImageTask:
    split = Split.of((Path(f"{row}.png"), int(label)) for row, label in enumerate(labels))
    names = tuple("abcdef"[: labels.max() + 1])
    return ImageTask(
        name="t", root=Path(), layout="folders", classes=names, splits={"train": split}
    )


def test_the_probe_minimises_what_scikit_learn_does() -> None:
    inputs, labels = blobs()
    probe = Probe(inputs, labels, CLASSES)
    p = torch.from_numpy(probe.probabilities(inputs))
    # Where the gradient is zero, W = C * X'(onehot - p).
    residual = F.one_hot(torch.from_numpy(labels), CLASSES) - p
    expected = INVERSE_PENALTY * torch.from_numpy(inputs).double().T @ residual
    torch.testing.assert_close(probe._weight.double(), expected, atol=0.02, rtol=0.02)


def test_several_labels_are_as_many_regressions() -> None:
    inputs, labels = blobs()
    truth = np.eye(CLASSES, dtype=bool)[labels]
    probe = Probe(inputs, truth, CLASSES)
    p = torch.from_numpy(probe.probabilities(inputs))
    expected = (
        INVERSE_PENALTY
        * torch.from_numpy(inputs).double().T
        @ (torch.from_numpy(truth).double() - p)
    )
    torch.testing.assert_close(probe._weight.double(), expected, atol=0.02, rtol=0.02)


def test_no_image_is_judged_by_its_own_label() -> None:
    features, labels = blobs()
    fold_of = np.arange(len(labels)) % 5
    p = out_of_fold(features, labels, fold_of, CLASSES)
    assert (p.argmax(1) == labels).mean() > 0.9
    wrong = labels.copy()
    wrong[0] = 2
    judged = out_of_fold(features, wrong, fold_of, CLASSES)
    np.testing.assert_array_equal(judged[fold_of == 0], p[fold_of == 0])


def test_copies_and_groups_share_a_fold() -> None:
    labels = np.repeat([0, 1], 10)
    task = task_of(labels)
    images = task.every()
    paths = images.paths
    contents = {path: str(path) for path in paths}
    contents |= {paths[10 + row]: str(paths[row]) for row in range(2, 7)}
    fold_of = folds_of(task, images, contents, seed=0)
    assert sorted(set(fold_of)) == [0, 1, 2, 3, 4]
    assert fold_of[12:17].tolist() == fold_of[2:7].tolist()
    for label in (0, 1):
        assert np.bincount(fold_of[labels == label]).min() >= 1


def test_a_class_of_one_image_or_one_group_cannot_be_judged() -> None:
    labels = np.array([0, 0, 0, 1, 2, 2])
    fold_of = np.array([0, 1, 2, 0, 1, 1])
    assert learnable(labels, fold_of).tolist() == [True] * 3 + [False] * 3
    several = np.array([[1, 0], [1, 0], [0, 0], [1, 1], [0, 0], [0, 0]], bool)
    assert learnable(several, fold_of).tolist() == [True] * 3 + [False] + [True] * 2
