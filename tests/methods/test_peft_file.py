"""Any tuner of PEFT's by its config: through train, merge, bench and report."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from arcvit.core.errors import UserError
from arcvit.core.result import read_result
from arcvit.recipe.parser import parse_recipe, read_recipe

Arcvit = Callable[..., object]

CONFIGS = {
    "dora": {"peft_type": "LORA", "use_dora": True, "r": 2, "target_modules": ["qkv"]},
    "oft": {"peft_type": "OFT", "oft_block_size": 8, "target_modules": ["fc1"]},
    "glora": {"peft_type": "GLORA", "r": 2, "target_modules": ["qkv"]},
}


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """A config of each, as PEFT writes it or in YAML."""
    for name, config in CONFIGS.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(config))
    (tmp_path / "oft.json").write_text(
        json.dumps(CONFIGS["oft"] | {"base_model_name_or_path": "x"})
    )
    return tmp_path


@pytest.mark.slow
def test_trained_merged_and_compared(
    arcvit: Arcvit, short_run: tuple[str, ...], photos: Path, configs: Path
) -> None:
    run = configs / "run"
    given = f"--method=peft:{configs / 'dora.yaml'}"
    assert arcvit("train", *short_run, given, f"--out={run}").code == 0
    recipe = read_recipe(run / "recipe.yaml")
    assert (recipe.method, recipe.options.config) == ("peft", CONFIGS["dora"])
    facts = json.loads(arcvit("inspect", run, "--json").out)
    assert facts["parameters"]["adapter"] == read_result(run).params["adapter"]
    assert arcvit("merge", run, f"--out={configs / 'm.safetensors'}").code == 0
    (configs / "mine.yaml").write_text(f"tasks: [{{name: a, path: {photos}, group: g}}]")
    files = ",".join(f"peft:{configs / name}" for name in ("dora.yaml", "oft.json", "glora.yaml"))
    rows = f"--methods=linear,{files},peft:{configs / 'dora.yaml'}:config={{r: 1}}"
    flags = [f for f in short_run if f.startswith(("--engine", "--backbone"))]
    bench = [configs / "mine.yaml", rows, *flags, "--seeds=0", f"--out={configs / 'runs'}"]
    answer = arcvit("bench", *bench, "--search=none")
    assert answer.code == 0, answer.out
    table = arcvit("report", configs / "runs").out
    for label in ("peft:dora", "peft:oft", "peft:glora", "peft:dora:config={r: 1}"):
        assert f"| {label} | tiny | 1 seed |" in table
    sizes = [
        read_result(configs / "runs" / "a" / folder / "seed-0").params["adapter"]
        for folder in ("peft-dora", "peft-dora-config=-r-1")
    ]
    # Two blocks, qkv of 32 to 96: rank 2 or 1, and DoRA's magnitude of each output.
    assert sizes == [2 * (2 * 128 + 96), 2 * (128 + 96)]


WRONG = [
    ("peft_type: 3", "isn't a config of PEFT's: expected peft_type in it"),
    ("[1]", "isn't a config of PEFT's"),
    ("{", "isn't YAML"),
    (
        "{peft_type: LORA, megatron_config: {a: 1}, megatron_core: os}",
        "'megatron_config', which names code to load: take it out",
    ),
]


@pytest.mark.parametrize(("text", "sentence"), WRONG)
def test_wrong_files(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UserError, match=sentence):
        parse_recipe(["--data.path=p", f"--method=peft:{tmp_path / 'c.yaml'}"])
