import pytest

from arcvit.data.findings import examples


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, ""),
        (2, "0, 1"),
        (3, "0, 1, 2"),
        (5, "0, 1, 2 and 2 more"),
        (2003, "0, 1, 2 and 2,000 more"),
    ],
)
def test_examples(count: int, expected: str) -> None:
    assert examples(range(count), most=3) == expected
