"""What a bench would do, without data or weights: parameters, an estimate of time and memory.

The model is built on torch's meta device, which has shapes and no values: operations are counted,
and what a training step keeps for its backward pass is added up.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from arcvit.backbones.build import build_backbone
from arcvit.bench.progress import span
from arcvit.bench.sizes import Sizes, sizes_of
from arcvit.bench.trials import Bench
from arcvit.bench.work import precision_for
from arcvit.core.errors import UserError
from arcvit.engine.class_token import class_token_alone
from arcvit.engine.device import choose_device
from arcvit.engine.groups import count, parameters_by_part
from arcvit.recipe.methods import adapt
from arcvit.recipe.recipe import Recipe

EFFICIENCY = {"cpu": 0.7}
"""Share of the speed of large matrix products that training reaches: 0.8 for ViT-B/16 on two cores
in fp32, less for small models."""
OTHER_EFFICIENCY = 0.4
"""That of other devices, a guess."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a method takes on a backbone.

    Attributes:
        adapter: trained parameters without the head.
        width: inputs of the head.
        forward: operations of an image's forward pass.
        step: operations of an image's forward and backward pass.
        memory: bytes of a training step: weights, gradients, optimizer and what is kept.
    """

    adapter: int
    width: int
    forward: float
    step: float
    memory: float


def print_plan(bench: Bench, root: Path | None, console: Console) -> None:
    """Print the plan of all tasks and rows, and its totals."""
    first = bench.recipe_for(bench.suite.tasks[0], "-", bench.rows[0], 0)
    speed = _speed(first)
    efficiency = EFFICIENCY.get(choose_device(first.engine.device), OTHER_EFFICIENCY)
    table = Table("task", "row", "classes", "adapter", "+ head", "runs", "time", "memory")
    runs, seconds, unknown = 0, 0.0, 0
    for task in bench.suite.tasks:
        try:
            sizes = sizes_of(task, root)
        except UserError as error:
            table.add_row(task.name, "", "", str(error))
            continue
        for row in bench.rows:
            recipe = bench.recipe_for(task, task.path, row, bench.seeds[0])
            trials = len(bench.trials(row))
            runs += trials + len(bench.seeds)
            try:
                cost = _cost(recipe)
            except UserError as error:
                table.add_row(task.name, str(row.name), "", str(error))
                continue
            cells = [task.name, str(row.name), "?", f"{cost.adapter:,}", "?"]
            spent = "?"
            if sizes is None:
                unknown += 1
            else:
                cells[2:5] = [
                    f"{sizes.classes:,}",
                    f"{cost.adapter:,}",
                    f"{cost.adapter + (cost.width + 1) * sizes.classes:,}",
                ]
                took = _operations(cost, recipe, trials, len(bench.seeds), sizes) / (
                    speed * efficiency
                )
                seconds += took
                spent = span(took)
            table.add_row(
                *cells, f"{trials}+{len(bench.seeds)}", spent, f"{cost.memory / 1e9:.1f} GB"
            )
    console.print(table)
    left = f"; {unknown} rows without data aren't counted" if unknown else ""
    _say(
        console,
        f"{runs} runs, {span(seconds)} in all{left}. Estimated with large matrix products at"
        f" {speed / 1e9:,.0f} GFLOP/s here in the precision of the runs and"
        f" {efficiency:.0%} of it reached; decoding of images isn't counted."
        " Memory is that of a training step in fp32.",
    )
    keys = {key for row in bench.rows for trial in bench.trials(row)[:1] for key in trial}
    others = sorted(key for key in keys if not key.startswith("optim."))
    if others:
        _say(console, f"What a search over {', '.join(others)} changes isn't counted.")
    _say(console, f"runs: trials of the search + seeds ({', '.join(map(str, bench.seeds))}).")


def _key(recipe: Recipe) -> str:
    parts = (
        recipe.backbone,
        recipe.image_size,
        recipe.method,
        recipe.options,
        recipe.engine.batch_size,
    )
    return repr(parts)


_COSTS: dict[str, Cost] = {}


def _cost(recipe: Recipe) -> Cost:
    """Build on the meta device and run a step there. Remembered: tasks share backbones."""
    key = _key(recipe)
    if key in _COSTS:
        return _COSTS[key]
    batch = recipe.engine.batch_size
    with torch.device("meta"):
        backbone = build_backbone(
            recipe.backbone, num_classes=2, weights="random", image_size=recipe.image_size
        )
        model = adapt(backbone.model, recipe, backbone.head)
        images = torch.empty(batch, 3, *backbone.input_size)
    inner = getattr(model, "base_model", None)
    head = (model if inner is None else inner.model).get_submodule(backbone.head)
    parts = parameters_by_part(model, head, recipe.spec.parts)
    trained = sum(map(count, parts.values()))
    adapter = trained - count(parts["head"])
    # The head's input width; the wrapper of PEFT holds the layer itself.
    width = next(p.shape[1] for p in parts["head"] if p.dim() == 2)
    forward, step, kept = _step(model, images)
    weights = sum(p.numel() for p in model.parameters())
    cost = Cost(
        adapter=adapter,
        width=width,
        forward=forward / batch,
        step=step / batch,
        memory=4 * (weights + 3 * trained) + kept,
    )
    _COSTS[key] = cost
    return cost


def _step(model: nn.Module, images: Tensor) -> tuple[float, float, float]:
    """Operations of a forward pass, of a whole step, and bytes kept for the backward pass."""
    own = {id(p) for p in model.parameters()}
    kept: dict[int, int] = {}
    alive: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        if id(tensor) not in own:
            alive.append(tensor)
            storage = tensor.untyped_storage()
            kept[storage._cdata] = storage.nbytes()
        return tensor

    model.train()
    with class_token_alone(model), FlopCounterMode(display=False) as counter:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = model(images).sum()
        forward = float(counter.get_total_flops())
        loss.backward()
        step = float(counter.get_total_flops())
    weights = {p.untyped_storage()._cdata for p in model.parameters()}
    return forward, step, float(sum(size for key, size in kept.items() if key not in weights))


def _operations(cost: Cost, recipe: Recipe, trials: int, seeds: int, sizes: Sizes) -> float:
    epochs = recipe.engine.epochs
    fixed = cost.adapter == 0 and recipe.data.augment == "none"
    # Features of a linear probe on images that don't change are computed once.
    per_image = cost.forward if fixed else cost.step * epochs
    search = trials * (sizes.train * per_image + (sizes.trainval - sizes.train) * cost.forward)
    return search + seeds * (sizes.trainval * per_image + sizes.test * cost.forward)


def _speed(recipe: Recipe) -> float:
    """Operations a second in large matrix products, on the device and in the precision of runs."""
    device = choose_device(recipe.engine.device)
    side = 4096 if device == "cuda" else 1024
    asked = recipe.engine.precision
    precision = precision_for(recipe) if asked == "auto" else asked
    dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16}
    a = torch.randn(side, side, device=device).to(dtypes.get(precision, torch.float32))
    best = 0.0
    for _ in range(5):
        start = time.perf_counter()
        float((a @ a)[0, 0])
        best = max(best, 2 * side**3 / (time.perf_counter() - start))
    return best


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, soft_wrap=True, markup=False)
