"""``arcvit import``: an official checkpoint becomes an adapter and a timm checkpoint."""

import importlib.util
import re
from pathlib import Path

import pytest
import timm
import torch
from peft import PeftModel

import arcvit  # noqa: F401  makes ARC known to PEFT
from arcvit.backbones.checkpoint import read_checkpoint
from arcvit.backbones.official import convert_official
from arcvit.cli.main import main
from arcvit.core.task import read_task

_spec = importlib.util.spec_from_file_location(
    "arc_reference_for_import", Path(__file__).parents[1] / "arc" / "reference.py"
)
assert _spec is not None and _spec.loader is not None
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)


@pytest.fixture
def official(tmp_path):
    model = reference.ReferenceViT(width=128, heads=2, hidden=256, patch=8, depth=2).eval()
    reference.randomise(model, seed=3)
    file = tmp_path / "official.bin"
    torch.save(model.state_dict(), file)
    return model, file


def test_the_adapter_on_its_backbone_gives_the_authors_logits(official, tmp_path, capsys) -> None:
    model, file = official
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\ne\n", encoding="utf-8-sig")
    assert main([
        "import", str(file), "--out", str(tmp_path / "adapter"), "--classes",
        str(tmp_path / "names.txt"), "--backbone_out", str(tmp_path / "vit"),
    ]) == 0  # fmt: skip
    assert "arc, r=6, 5 classes" in capsys.readouterr().out

    backbone = timm.create_model(f"local-dir:{tmp_path / 'vit'}", pretrained=True)
    adapted = PeftModel.from_pretrained(backbone, str(tmp_path / "adapter")).eval()
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(adapted(images), model(images), rtol=1e-4, atol=1e-4)
    assert read_task(tmp_path / "adapter").labels == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("embedding.cls"), "missing: embedding.cls"),
        (lambda s: s.update(stranger=torch.zeros(1)), "unexpected: stranger"),
        (lambda s: s.clear(), "holds no state dict"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(official, tmp_path, capsys, change, said) -> None:
    _, file = official
    state = torch.load(file, weights_only=True)
    change(state)
    torch.save(state, file)
    assert main(["import", str(file), "--out", str(tmp_path / "adapter")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "adapter").exists()


def test_the_names_of_their_vtab_script_mean_the_same(official, tmp_path) -> None:
    model, file = official
    names = {
        r"(att|mlp)_down_projection": r"left_u_\1",
        r"(att|mlp)_adapter\.adapter_rescale": r"\1_scale",
        r"(att|mlp)_adapter\.adapter_bias": r"\1_scale_bias",
    }
    state = model.state_dict()
    for theirs, newer in names.items():
        state = {re.sub(theirs, newer, key): value for key, value in state.items()}
    assert "transformer.layer.1.mlp_scale_bias" in state
    torch.save(state, tmp_path / "new.bin")
    imported = [convert_official(read_checkpoint(f)) for f in (file, tmp_path / "new.bin")]
    for part in ("backbone", "head", "adapter"):
        old, new = (getattr(checkpoint, part) for checkpoint in imported)
        assert list(old) == list(new)
        assert all(torch.equal(value, new[key]) for key, value in old.items())


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (b"a\nb\n", "2 class names for a head of 5 classes"),
        (b"a\nb\nc\nd\n\xe9\n", "isn't text in UTF-8"),
    ],
)
def test_class_names_that_do_not_fit_are_refused(official, tmp_path, capsys, names, said) -> None:
    _, file = official
    (tmp_path / "names.txt").write_bytes(names)
    arguments = ["import", str(file), "--out", str(tmp_path / "x")]
    assert main([*arguments, "--classes", str(tmp_path / "names.txt")]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("place", [".", "vit"])
def test_the_adapter_would_replace_a_backbone_within_it(official, tmp_path, capsys, place) -> None:
    _, file = official
    out = tmp_path / "x"
    arguments = ["import", str(file), "--out", str(out), "--backbone_out", str(out / place)]
    assert main(arguments) == 2
    assert "which is put in place whole" in capsys.readouterr().err
    assert not out.exists()
