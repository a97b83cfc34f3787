"""Adapters of every method, ways to spoil one, and what came of it when it was loaded.

A mutation is drawn from a seed: the same number and seed spoil the same adapter in the same way.
"""

import copy
import json
import math
import os
import random
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import arcvit
from arcvit.backbones.build import build_backbone
from arcvit.core.errors import UserError
from arcvit.recipe.methods import adapt
from arcvit.recipe.parser import parse_recipe

LABELS = ["blue", "green", "red", "white"]
METHODS = {
    "arc": "arc:r=4",
    "arc_att": "arc_att:r=4",
    "arc_ffn": "arc:variant=arc_ffn:r=4",
    "arc own": "arc:share=none:r=3:up_projection=separate",
    "arc no bias": "arc:share=all:r=4:adapter_bias=false:placement=before_norm",
    "lora": "lora:r=2",
    "vera": "vera:r=4",
    "bitfit": "bitfit",
    "vpt": "vpt:prompts=3",
    "adaptformer": "adaptformer:r=4",
    "ssf": "ssf",
    "lnorm": "lnorm",
    "full": "full",
    "linear": "linear",
}
"""What ``--method`` takes, by the name in the table of outcomes."""
OURS = ("ARC", "VPT", "ADAPTFORMER", "SSF")
"""What PEFT loads with a tuner of ours; with its own it is as forgiving as ever."""
SECONDS = 20
HANGS = "(([a-z0-9.]+)+)+#"
ODD: tuple[Any, ...] = (
    *(None, True, False, -1, 0, 1, 3, 10**9, 2**70, 0.5, 1.5, math.nan, math.inf, -math.inf),
    *("", "x", "(", "none", HANGS, "x" * 5000, "\ud800", "../../x"),
    *([], [1], ["x"], [["x"]], [None], {}, {"a": 1}, {"a": {"b": []}}, {HANGS: 2}),
)
MEANS_SOMETHING = {
    *("lora_alpha", "use_rslora", "alpha_pattern", "scale", "placement", "ffn_placement"),
    *("backbone", "weights", "seed", "image_size"),
}
"""Keys by which an adapter that loads may be another one: nothing else says what they were."""


@dataclass(frozen=True)
class Outcome:
    """What came of a mutated adapter.

    Attributes:
        kind: refused, equal, different, CRASH, HANG or SILENT CHANGE.
        said: the sentence or the error.
    """

    kind: str
    said: str = ""

    @property
    def is_failure(self) -> bool:
        return self.kind.isupper()


class TimeIsUpError(BaseException):
    """It hangs."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TimeIsUpError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Collection:
    """An adapter of every method, and the logits of each."""

    def __init__(self, root: Path, tiny: Path) -> None:
        self.root = root
        self.tiny = tiny
        self.images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        self.logits: dict[str, Tensor] = {}
        with self.quiet():
            for name, method in METHODS.items():
                self._make(name, method)

    @staticmethod
    @contextmanager
    def quiet() -> Iterator[None]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield

    def _make(self, name: str, method: str) -> None:
        recipe = parse_recipe(["--data.path=p", f"--method={method}"])
        backbone = build_backbone(str(self.tiny), num_classes=len(LABELS))
        model = adapt(backbone.model, recipe, backbone.head)
        draws = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.2 * torch.randn(parameter.shape, generator=draws))
        arcvit.save_adapter(
            model,
            self.root / name,
            labels=LABELS,
            backbone=str(self.tiny),
            preprocessing="vtab",
            head="head",
        )
        self.logits[name] = self._logits(model.eval())

    def _logits(self, model: nn.Module) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = model(self.images)
        return logits

    def mutate(self, seed: int, number: int, folder: Path) -> tuple[str, str, bool]:
        """Spoil an adapter.

        Returns:
            Its method, what was done to it, and whether it may be another adapter now.
        """
        draws = random.Random(f"{seed} {number}")
        method = draws.choice(list(METHODS))
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.root / method, folder)
        whole = (folder / "model.safetensors").is_file()
        kinds = [_weights, _weights, _task] if whole else [_weights, _weights, _config, _task]
        what, may_differ = draws.choice(kinds)(folder, draws, self)
        return method, what, may_differ

    @staticmethod
    def is_ours(folder: Path) -> bool:
        """Whether plain PEFT would load it with a tuner of ours."""
        try:
            kind = json.loads((folder / "adapter_config.json").read_text())["peft_type"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return False
        return kind in OURS

    def outcome(self, method: str, folder: Path, may_differ: bool) -> Outcome:
        """Load it as ``arcvit`` does."""

        def load() -> Tensor:
            loaded = arcvit.load_adapter(folder, device="cpu")
            loaded.preprocessing  # noqa: B018  the next thing asked for
            return self._logits(loaded.model)

        return self._judge(load, method, may_differ, refusals=UserError)

    def outcome_in_peft(self, method: str, folder: Path, may_differ: bool) -> Outcome:
        """Load it as plain PEFT does, onto the backbone of the adapter."""

        def load() -> Tensor:
            model = build_backbone(str(self.tiny), num_classes=len(LABELS)).model
            return self._logits(PeftModel.from_pretrained(model, str(folder)).eval())

        return self._judge(load, method, may_differ, refusals=(ValueError, TypeError, KeyError))

    def _judge(
        self, load: Callable[[], Tensor], method: str, may_differ: bool, refusals: Any
    ) -> Outcome:
        try:
            with self.quiet(), time_limit(SECONDS):
                logits = load()
        except TimeIsUpError:
            return Outcome("HANG")
        except refusals as error:
            sentence = str(error)
            good = sentence and "\n" not in sentence and len(sentence) < 2000
            return Outcome("refused" if good else "CRASH", sentence)
        except Exception as error:
            return Outcome("CRASH", f"{type(error).__name__}: {error}"[:300])
        if logits.shape == self.logits[method].shape and torch.equal(logits, self.logits[method]):
            return Outcome("equal")
        return Outcome("different" if may_differ else "SILENT CHANGE", f"{logits.flatten()[:3]}")


def _weights(folder: Path, draws: random.Random, every: Collection) -> tuple[str, bool]:
    """Spoil the weights: names, shapes, kinds, values, bytes."""
    (file,) = folder.glob("*.safetensors")
    done = draws.choice([_names, _names, _values, _values, _bytes])
    return done(file, draws, every)


def _names(file: Path, draws: random.Random, every: Collection) -> tuple[str, bool]:
    state = load_file(file)
    keys = sorted(state)
    key = draws.choice(keys)
    part = draws.choice(key.split("."))
    ways = ["drop", "part", "half", "head", "all", "rename", "backbone", "junk", "swap"]
    way = draws.choice(ways)
    if way == "drop":
        del state[key]
    elif way == "part":
        state = {k: v for k, v in state.items() if part not in k.split(".")}
    elif way == "half":
        state = {k: v for k, v in state.items() if draws.random() < 0.5 and k != key}
    elif way == "head":
        state = {k: v for k, v in state.items() if ".head." not in f".{k}"}
    elif way == "all":
        state = {}
    elif way == "rename":
        place = draws.randrange(len(key))
        state[f"{key[:place]}{draws.choice('0.x_')}{key[place:]}"] = state.pop(key)
    elif way in ("backbone", "junk"):
        plain = load_file(every.tiny / "model.safetensors")
        name = draws.choice(sorted(set(plain) - {"head.weight", "head.bias"}))
        given = torch.full_like(plain[name], 0.1)
        wrapped = f"base_model.model.{name}"
        if way == "junk":
            name, given = "x", torch.zeros(1)
            wrapped = draws.choice(["x", "base_model.model.x", f"{key}.x", "base_model.x"])
        if wrapped in state:
            wrapped = f"{wrapped}.x"
        key = wrapped if len(keys) < 200 else name
        state[key] = given
    else:
        other = draws.choice(sorted(METHODS))
        (theirs,) = (every.root / other).glob("*.safetensors")
        if theirs.read_bytes() == file.read_bytes():
            return "names: as they were", False
        shutil.copy(theirs, file)
        return f"names: those of {other}", False
    save_file(state, file)
    return f"names: {way} {key} {part if way == 'part' else ''}", False


def _values(file: Path, draws: random.Random, every: Collection) -> tuple[str, bool]:
    del every
    state = load_file(file)
    key = draws.choice(sorted(state))
    value = state[key].clone()
    flat = value.view(-1)
    place = draws.randrange(len(flat))
    way = draws.choice(["nan", "inf", "kind", "kind", "shape", "shape", "rows", "value", "huge"])
    may_differ = False
    if way in ("nan", "inf"):
        flat[place] = math.nan if way == "nan" else draws.choice([math.inf, -math.inf])
    elif way == "huge":
        value = value.double()
        value.view(-1)[place] = 1e300
    elif way == "value":
        flat[place] += 1
        may_differ = True
    elif way == "kind":
        whole = [torch.int8, torch.int64, torch.bool, torch.uint8]
        floating = [torch.float8_e4m3fn, torch.float16, torch.bfloat16, torch.float64]
        kind = draws.choice([*whole, *floating])
        value = value.to(kind)
        way, may_differ = f"{way} {kind}", kind.is_floating_point
    elif way == "shape":
        shape = draws.choice([value[None], value.flatten(), value.T if value.ndim == 2 else value])
        value = draws.choice([shape, value[..., :-1], torch.zeros(()), torch.zeros(0)])
    else:
        value = torch.cat([value, value[:1]])
    unlike = value.shape != state[key].shape or value.dtype != state[key].dtype
    state[key] = value.contiguous()
    save_file(state, file)
    return f"values: {way} {key}", may_differ or (not unlike and way == "shape")


def _bytes(file: Path, draws: random.Random, every: Collection) -> tuple[str, bool]:
    del every
    content = bytearray(file.read_bytes())
    way = draws.choice(["cut", "empty", "more", "header", "header", "length", "gone", "folder"])
    header = int.from_bytes(content[:8], "little")
    if way == "cut":
        content = content[: draws.randrange(len(content))]
    elif way == "empty":
        content = bytearray()
    elif way == "more":
        content += b"x" * draws.randrange(1, 100)
    elif way == "header":
        for _ in range(draws.randrange(1, 4)):
            content[8 + draws.randrange(header)] = draws.randrange(256)
    elif way == "length":
        content[:8] = draws.choice([0, 1, header - 1, header + 1, 2**40, 2**63]).to_bytes(
            8, "little"
        )
    file.unlink()
    if way == "folder":
        file.mkdir()
    elif way != "gone":
        file.write_bytes(content)
    return f"bytes: {way}", False


def _config(folder: Path, draws: random.Random, every: Collection) -> tuple[str, bool]:
    return _record(folder / "adapter_config.json", draws, every)


def _task(folder: Path, draws: random.Random, every: Collection) -> tuple[str, bool]:
    return _record(folder / "task.json", draws, every)


def _record(file: Path, draws: random.Random, every: Collection) -> tuple[str, bool]:
    """Spoil a JSON file: a key's value, its name, or the file."""
    record = json.loads(file.read_text())
    inside, path = record, file.stem
    while True:
        key = draws.choice(sorted(inside))
        path = f"{path}.{key}"
        if not (isinstance(inside[key], dict) and inside[key] and draws.random() < 0.7):
            break
        inside = inside[key]
    way = draws.choice(["odd"] * 8 + ["drop", "rename", "more", "swap", "text", "other", "gone"])
    may_differ = not MEANS_SOMETHING.isdisjoint(path.split("."))
    if way == "odd":
        inside[key] = copy.deepcopy(draws.choice(ODD))
        way = f"odd {str(inside[key])[:40]!r}"
    elif way == "drop":
        del inside[key]
    elif way == "rename":
        inside[f"{key}x"] = inside.pop(key)
    elif way == "more":
        inside[draws.choice(["x", "megatron_config", "runtime_config", "auto_mapping"])] = {"x": 1}
    elif way == "other":
        values = [True, "all", "arc_only", "LORA", "ARC", "VERA", "SSF", 2, 7, ["qkv"], ["norm1"]]
        inside[key] = draws.choice(values)
        way = f"{way} {inside[key]}"
    elif way == "swap":
        other = draws.choice(sorted(set(METHODS) - {"full"}))
        shutil.copy(every.root / other / file.name, file)
        return f"{path} of {other}", False
    elif way == "gone":
        file.unlink()
        return f"{file.stem} is gone", False
    else:
        labels = "[" + ",".join('"x"' for _ in range(1_000_000)) + "]"
        texts = ["", "[]", "null", "{", "[" * 100_000, '{"a":' * 100_000, '"\\ud800"', "\x00"]
        text = draws.choice([*texts, '{"labels": 1e999}', f'{{"labels": {labels}}}'])
        file.write_text(text)
        return f"{file.stem} is {text[:20]!r}", False
    file.write_text(json.dumps(record))
    return f"{path} {way}", may_differ


@pytest.fixture(scope="session")
def every(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """An adapter of every method."""
    return Collection(tmp_path_factory.mktemp("adapters"), tiny)


@pytest.fixture(scope="session")
def mutation_seed() -> int:
    """``ARCVIT_SEED``, or 0."""
    return int(os.environ.get("ARCVIT_SEED", "0"))
