import numpy as np
import pytest

from arcvit.curate.choose import choose, uncertainty


def test_uncertainty_is_how_near_the_two_best_are() -> None:
    p = np.array([[0.5, 0.5, 0.0], [0.2, 0.1, 0.7], [0.0, 1.0, 0.0]])
    assert uncertainty(p) == pytest.approx([1.0, 0.5, 0.0])


def test_one_of_each_cluster_the_most_unsure_first() -> None:
    draws = np.random.default_rng(0)
    centres = 20 * np.eye(4)
    x = np.concatenate([centre + draws.normal(size=(10, 4)) for centre in centres])
    unsure = np.repeat([0.9, 0.6, 0.3, 0.0], 10)
    assert [row // 10 for row in choose(x, unsure, 3, seed=0)] == [0, 1, 2]
    # The sure ones come only where there are no others.
    assert sorted(choose(x, unsure, 40, seed=0)) == list(range(40))
    assert choose(x, unsure, 5, seed=0) == choose(x, unsure, 5, seed=0)


def test_images_that_are_all_the_same() -> None:
    assert sorted(choose(np.ones((4, 3)), np.zeros(4), 3, seed=0)) == [0, 1, 2]
