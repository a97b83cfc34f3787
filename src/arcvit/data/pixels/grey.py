"""The range of grey images of 16 bits, which often hold values of 10 or 12."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from arcvit.data.pixels.preset import Decoding
from arcvit.data.pixels.rgb import grey_of_16_bits, in_threads, opened, reason_of_failure


def grey_range(peaks: Iterable[int | None]) -> int:
    """The value of white: the smallest 2^k - 1 that no grey value of 16 bits is above."""
    found = [peak for peak in peaks if peak]
    return (1 << max(found).bit_length()) - 1 if found else 2**16 - 1


def grey_peaks(paths: Sequence[Path], how: Decoding) -> list[int | None]:
    """The largest value of each grey image of 16 bits; None of any other, or one that is broken."""

    def peak(path: Path) -> int | None:
        found: list[int] = []

        def look() -> None:
            with opened(path, how) as image:
                if image.mode.startswith("I"):  # all others are told by their header
                    image.load()
                    grey = grey_of_16_bits(image)
                    found.extend([] if grey is None else [int(grey.max())])

        reason_of_failure(path, look)
        return found[0] if found else None

    return list(in_threads(peak, paths))
