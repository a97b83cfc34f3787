"""A thousand spoilt adapters: each is refused in a sentence or loads as it was.

``make torture`` runs all of them. ``ARCVIT_SEED`` draws others, and what fails names its number.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from arcvit.recipe.adapter import load_adapter
from arcvit.recipe.merge import merge_run

MANY, SAMPLE = 1000, 40


def survey(every: Any, seed: int, numbers: range, folder: Path) -> Counter[str]:
    """How often each thing came of it; every failure is told."""
    outcomes: Counter[str] = Counter()
    failures = []
    for number in numbers:
        method, what, may_differ = every.mutate(seed, number, folder)
        found = {"arcvit": every.outcome(method, folder, may_differ)}
        if every.is_ours(folder) and what.startswith(("names", "values", "adapter_config.")):
            found["PEFT"] = every.outcome_in_peft(method, folder, may_differ)
        for reader, outcome in found.items():
            outcomes[f"{reader}: {outcome.kind}"] += 1
            if outcome.is_failure:
                failures.append(f"{number} {reader} {method}, {what}: {outcome}")
    assert not failures, f"seed {seed}:\n" + "\n".join(failures)
    return outcomes


def test_some_mutations(every: Any, mutation_seed: int, tmp_path: Path) -> None:
    outcomes = survey(every, mutation_seed, range(SAMPLE), tmp_path / "spoilt")
    assert outcomes["arcvit: refused"] > SAMPLE / 2


@pytest.mark.torture
def test_a_thousand_mutations(
    every: Any, mutation_seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes = survey(every, mutation_seed, range(MANY), tmp_path / "spoilt")
    with capsys.disabled():
        print(f"\nseed {mutation_seed}, {MANY} mutations: {dict(sorted(outcomes.items()))}")


def test_as_they_are_all_of_them_load(every: Any) -> None:
    for method in every.logits:
        assert every.outcome(method, every.root / method, may_differ=False).kind == "equal", method


def test_layer_norms_fold_with_their_head(every: Any, tmp_path: Path) -> None:
    loaded = load_adapter(every.root / "lnorm", device="cpu")
    assert merge_run(loaded, tmp_path / "m.safetensors").difference <= 1e-5
