"""What a Ray cluster has room for."""

import pytest

from arcvit.executors.ray_cluster import room

NODES = [
    {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0}},
    {"Alive": True, "Resources": {"CPU": 3.0}},
    {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
]


@pytest.mark.parametrize(
    ("num_cpus", "num_gpus", "expected"),
    [(1, 0, [8, 3]), (2, 1, [2, 0]), (1, 0.5, [4, 0]), (4, 0, [2, 0]), (16, 1, [0, 0])],
)
def test_room_of_each_node(num_cpus: float, num_gpus: float, expected: list[int]) -> None:
    assert room(NODES, num_cpus, num_gpus) == expected
