import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Arcvit = Callable[..., object]
Trained = Callable[[str], Path]


def test_what_is_told(arcvit: Arcvit, trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "m"
    answer = arcvit("export", trained("arc"), "--format=timm", f"--out={out}")
    assert answer.code == 0, answer.err
    first, *_, last = answer.out.splitlines()
    assert first.startswith(f"wrote {out} (")
    assert first.endswith("on 8 photos")
    assert "Its head holds the calibration: softmax of its logits" in answer.out
    assert f'model = timm.create_model("local-dir:{out}", pretrained=True).eval()' in answer.out
    assert last.startswith("transform = ")

    answer = arcvit("export", tmp_path / "no_run", "--format=lora", f"--out={out}")
    assert (answer.code, "is there already" in answer.err) == (2, True)  # found before the run


def test_an_adapter_alone_is_compared_on_random_images(
    arcvit: Arcvit, trained: Trained, tmp_path: Path
) -> None:
    out = tmp_path / "m"
    answer = arcvit("export", trained("lora") / "adapter", "--format=lora", f"--out={out}")
    assert answer.code == 0, answer.err
    assert answer.out.splitlines()[0].endswith("on 8 random images")


@pytest.mark.parametrize("format", ["timm", "lora"])
def test_what_cant_be_folded_is_one_sentence(
    arcvit: Arcvit, trained: Trained, tmp_path: Path, format: str
) -> None:
    run = Path(shutil.copytree(trained("arc"), tmp_path / "run"))
    config = run / "adapter" / "adapter_config.json"
    text = config.read_text()
    config.write_text(text.replace('"placement": "after_norm"', '"placement": "before_norm"'))
    assert config.read_text() != text
    answer = arcvit("export", run, f"--format={format}", f"--out={tmp_path / 'm'}")
    assert answer.code == 2
    assert "placement='before_norm'" in answer.err
    assert answer.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
