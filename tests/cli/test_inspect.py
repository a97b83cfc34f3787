import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from arcvit.core.result import read_result

Arcvit = Callable[..., object]
Trained = Callable[[str], Path]

TUNERS = {"arc": "ARC", "arc_att": "ARC", "linear": "LORA", "bitfit": "LORA", "full": None}


@pytest.mark.parametrize("method", TUNERS)
def test_a_run_and_its_adapter(arcvit: Arcvit, trained: Trained, tiny: Path, method: str) -> None:
    run = json.loads(arcvit("inspect", trained(method), "--json").out)
    adapter = json.loads(arcvit("inspect", trained(method) / "adapter", "--json").out)
    result = read_result(trained(method))
    assert run["tuner"] == TUNERS[method]
    assert run["backbone"] == str(tiny)
    assert run["backbone_fingerprint"] == result.backbone_fingerprint
    assert run["labels"] == ["blue", "green", "red", "white"]
    assert run["preprocessing"]["size"] == [32, 32]
    assert (run["method"], run["test_accuracy"]) == (method, result.test_accuracy)
    own = ("task", "val_accuracy", "test_accuracy", "trained_on", "trained_parameters")
    assert adapter == {key: value for key, value in run.items() if key not in own}
    assert run["trained_parameters"] == result.params["total"]
    if method.startswith("arc"):
        assert (run["r"], run["variant"]) == (8, method)
    assert run["parameters"]["adapter"] == result.params["adapter"]
    # PEFT saves the biases of the head's first module and of its wrapper with every other bias.
    assert run["parameters"]["head"] == result.params["head"] + 8 * (method == "bitfit")


def test_as_a_table(arcvit: Arcvit, trained: Trained) -> None:
    out = arcvit("inspect", trained("arc")).out
    for part in ("ARC", "blue, green, red, white", "adapter 672, head 132"):
        assert part in out


def without_weights(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").unlink()


def cut_weights(adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:40])


def garbage(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").write_bytes(b"\x02" + b"\0" * 7 + b"[]")


def no_json(adapter: Path) -> None:
    (adapter / "adapter_config.json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (without_weights, "holds no weights: expected adapter_model.safetensors"),
        (cut_weights, "adapter_model.safetensors is damaged: expected a safetensors file"),
        (garbage, "adapter_model.safetensors is damaged: expected a safetensors file"),
        (no_json, "adapter_config.json is damaged: expected JSON"),
    ],
)
def test_damaged_adapters(
    arcvit: Arcvit,
    trained: Trained,
    tmp_path: Path,
    damage: Callable[[Path], None],
    sentence: str,
) -> None:
    adapter = Path(shutil.copytree(trained("arc") / "adapter", tmp_path / "adapter"))
    damage(adapter)
    answer = arcvit("inspect", adapter)
    assert answer.code == 2
    assert sentence in answer.err


def test_neither_run_nor_adapter(arcvit: Arcvit, tmp_path: Path) -> None:
    assert "isn't there: expected a run or an adapter" in arcvit("inspect", tmp_path / "no").err
    assert "is neither a run nor an adapter" in arcvit("inspect", tmp_path).err
    (tmp_path / "file").touch()
    assert "is neither a run nor an adapter" in arcvit("inspect", tmp_path / "file").err


def test_no_torch(trained: Trained) -> None:
    code = (
        "import sys; from arcvit.cli.main import main;"
        "assert main(['inspect', sys.argv[1]]) == 0; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(trained("arc"))], check=True)
