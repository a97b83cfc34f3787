"""ARC is known to PEFT after ``import arcvit``, in whichever order the two are imported."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

LOAD = """
import sys
{imports}
assert ("peft" in sys.modules) is {peft_is_loaded}
import timm, torch
from peft import PeftModel
plain = timm.create_model("local-dir:" + sys.argv[1], pretrained=True, num_classes=4)
model = PeftModel.from_pretrained(plain, sys.argv[2]).eval()
with torch.inference_mode():
    torch.save(model(torch.load(sys.argv[3])), sys.argv[4])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("imports", "peft_is_loaded"),
    [
        ("import arcvit", False),
        ("import peft\nimport arcvit", True),
        ("from arcvit import ArcLayer", True),
    ],
)
def test_plain_peft_loads_an_adapter(
    trained: Callable[[str], Path], tiny: Path, tmp_path: Path, imports: str, peft_is_loaded: bool
) -> None:
    import torch

    from arcvit.recipe.load import load_run

    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.save(images, tmp_path / "images.pt")
    code = LOAD.format(imports=imports, peft_is_loaded=peft_is_loaded)
    files = [tiny, trained("arc") / "adapter", tmp_path / "images.pt", tmp_path / "logits.pt"]
    subprocess.run([sys.executable, "-c", code, *map(str, files)], check=True)
    with torch.inference_mode():
        expected = load_run(trained("arc")).model(images)
    torch.testing.assert_close(torch.load(tmp_path / "logits.pt"), expected)


def test_the_hook_is_installed_once_and_leaves() -> None:
    import peft  # noqa: F401

    from arcvit import _peft_hook

    before = list(sys.meta_path)
    _peft_hook.install()
    assert sys.meta_path == before
    assert not any(isinstance(f, _peft_hook._RegisterAfterPeft) for f in sys.meta_path)


def test_the_public_names() -> None:
    import arcvit

    assert dir(arcvit) == ["ArcConfig", "ArcLayer", "ArcModel", "__version__"]
    assert isinstance(arcvit.__version__, str)
    with pytest.raises(AttributeError, match="module 'arcvit' has no attribute 'ArcConfg'"):
        _ = arcvit.ArcConfg
