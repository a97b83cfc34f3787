import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Arcvit = Callable[..., object]
Trained = Callable[[str], Path]

PLAIN = """
import sys
import timm, torch
model = timm.create_model("local-dir:" + sys.argv[1], pretrained=True).eval()
with torch.inference_mode():
    torch.save(model(torch.load(sys.argv[2])), sys.argv[3])
assert not any(name.split(".")[0] in ("arcvit", "peft") for name in sys.modules)
"""


def test_an_adapter_alone(arcvit: Arcvit, trained: Trained, tmp_path: Path) -> None:
    answer = arcvit("merge", trained("lora") / "adapter", f"--out={tmp_path / 'm'}")
    assert (answer.code, answer.out[:5]) == (0, "wrote")


@pytest.mark.slow
def test_the_merged_model_needs_no_arcvit(arcvit: Arcvit, trained: Trained, tmp_path: Path) -> None:
    import torch

    from arcvit.recipe.load import load_run

    answer = arcvit("merge", trained("arc"), f"--out={tmp_path / 'm'}")
    assert answer.code == 0
    assert answer.out.startswith(f"wrote {tmp_path / 'm'}; logits differ from the adapted model")
    assert "Its config can't hold how files were read: turn photos upright" in answer.out
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.save(images, tmp_path / "images.pt")
    files = [str(tmp_path / name) for name in ("m", "images.pt", "logits.pt")]
    subprocess.run([sys.executable, "-c", PLAIN, *files], check=True)
    with torch.inference_mode():
        expected = load_run(trained("arc")).model(images)
    torch.testing.assert_close(torch.load(tmp_path / "logits.pt"), expected, rtol=1e-4, atol=1e-5)


def test_the_target_is_taken(arcvit: Arcvit, trained: Trained, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    assert arcvit("merge", trained("linear"), f"--out={out}").code == 0
    before = out.read_bytes()
    answer = arcvit("merge", trained("arc"), f"--out={out}")
    assert answer.code == 2
    assert "is there already: choose another --out or remove it" in answer.err
    assert out.read_bytes() == before
