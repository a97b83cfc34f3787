"""What a method takes on a backbone, without data or weights: parameters, operations, memory.

The model is built on torch's meta device, which has shapes and no values: operations are counted,
and what a training step keeps for its backward pass is added up.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from arcvit.backbones.build import build_backbone
from arcvit.backbones.logits import logits_of
from arcvit.engine.class_token import class_token_alone
from arcvit.engine.groups import count, parameters_by_part
from arcvit.recipe.methods import adapt
from arcvit.recipe.recipe import Recipe


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


def _key(recipe: Recipe) -> str:
    parts = (
        recipe.backbone,
        recipe.image_size,
        recipe.backbone_args,
        recipe.method,
        recipe.options,
        recipe.engine.batch_size,
    )
    return repr(parts)


_COSTS: dict[str, Cost] = {}
_TRAINED: dict[str, int] = {}


def cost_of(recipe: Recipe) -> Cost:
    """Build on the meta device and run a step there. Remembered: tasks share backbones."""
    key = _key(recipe)
    if key in _COSTS:
        return _COSTS[key]
    batch = recipe.engine.batch_size
    model, parts, size = _built(recipe)
    images = torch.empty(batch, 3, *size, device="meta")
    adapter = _outside_head(parts)
    trained = adapter + count(parts["head"])
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


def trained_parameters(recipe: Recipe) -> int:
    """Parameters that a recipe trains outside the head. Remembered, as ``cost_of`` is."""
    key = _key(recipe)
    if key not in _TRAINED:
        _TRAINED[key] = _outside_head(_built(recipe)[1])
    return _TRAINED[key]


def _built(recipe: Recipe) -> tuple[nn.Module, dict[str, list[nn.Parameter]], tuple[int, int]]:
    """The adapted model on the meta device, what is trained by part, height and width of images."""
    with torch.device("meta"):
        backbone = build_backbone(
            recipe.backbone,
            num_classes=2,
            weights="random",
            image_size=recipe.image_size,
            arguments=recipe.backbone_args,
        )
        model = adapt(backbone.model, recipe, backbone.head)
    inner = getattr(model, "base_model", None)
    head = (model if inner is None else inner.model).get_submodule(backbone.head)
    return model, parameters_by_part(model, head, recipe.spec.parts), backbone.input_size


def _outside_head(parts: dict[str, list[nn.Parameter]]) -> int:
    return sum(count(parameters) for part, parameters in parts.items() if part != "head")


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
            loss = logits_of(model(images)).sum()
        forward = float(counter.get_total_flops())
        loss.backward()
        step = float(counter.get_total_flops())
    weights = {p.untyped_storage()._cdata for p in model.parameters()}
    return forward, step, float(sum(size for key, size in kept.items() if key not in weights))
