from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.core.predictions import (
    PREDICTIONS_FILE,
    Predicted,
    read_predictions,
    write_predictions,
)

OWL = Predicted(
    split="test",
    path="a, b/\udcff.jpg",
    hash="00ff",
    label="owl",
    predicted="emu\x1b",
    probability=0.75,
    uncalibrated=1.0,
    further={"camera": "=left"},
)
HEADER = "split,path,hash,label,predicted,probability,uncalibrated"


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_predictions(tmp_path, [OWL])
    text = (tmp_path / PREDICTIONS_FILE).read_text(errors="surrogateescape")
    assert text.splitlines()[0] == f"{HEADER},camera"
    (found,) = read_predictions(tmp_path)
    assert (found.path, found.hash, found.probability) == (OWL.path, OWL.hash, 0.75)
    # As they are in any table: nothing moves a cursor or is calculated.
    assert (found.predicted, found.further) == ("emu\\x1b", {"camera": "'=left"})
    assert not found.is_right


@pytest.mark.parametrize(
    "text",
    [
        "",
        "path,label\n",
        f"{HEADER}\ntest,a\n",
        f"{HEADER}\ntest,a,0,x,x,sure,1\n",
        f'{HEADER}\n"a',
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / PREDICTIONS_FILE).write_text(text)
    with pytest.raises(UserError, match=r"predictions\.csv is damaged: expected split, path"):
        read_predictions(tmp_path)


def test_a_run_that_measured_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no predictions\.csv"):
        read_predictions(tmp_path)
