from collections.abc import Callable
from pathlib import Path

import numpy as np

Arcvit = Callable[..., object]


def test_features_of_a_folder(
    arcvit: Arcvit, trained: Callable[[str], Path], photos: Path, tmp_path: Path
) -> None:
    red, out = photos / "test" / "red", tmp_path / "features.npz"
    answer = arcvit("embed", trained("linear"), red, f"--out={out}")
    assert answer.out == f"wrote 8 features of 32 values to {out}\n"  # type: ignore[attr-defined]
    with np.load(out) as held:
        assert held["features"].dtype == np.float32
        assert len(np.unique(held["features"], axis=0)) == 8
        assert list(held["paths"]) == sorted(map(str, red.iterdir()))


def test_what_it_cant_write_or_read(
    arcvit: Arcvit, trained: Callable[[str], Path], photos: Path, tmp_path: Path
) -> None:
    run, red, out = trained("linear"), photos / "test" / "red", tmp_path / "features.npz"
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "text.png").write_text("no image")
    for arguments, sentence in (
        ((empty, "--out=f.csv"), "expected a name that ends in .npz"),
        ((f"--out={out}",), "no image is given"),
        (
            (red, f"--out={tmp_path / 'text.png' / 'f.npz'}"),
            "text.png is a file, expected a folder",
        ),
        ((f"--list={tmp_path / 'none.txt'}", f"--out={out}"), "can't be read: No such file"),
        ((empty, f"--out={out}"), "1 image(s) can't be read"),
        ((tmp_path / "text.png", f"--out={out}"), "1 image(s) can't be read"),
    ):
        answer = arcvit("embed", run, *arguments)
        assert (answer.code, out.exists()) == (2, False)  # type: ignore[attr-defined]
        assert sentence in answer.err  # type: ignore[attr-defined]
