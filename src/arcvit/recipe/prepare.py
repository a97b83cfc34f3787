"""Everything a run needs before it learns: images, backbone, adapters."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources

import torch
from accelerate.utils import set_seed
from torch import Tensor, nn

from arcvit.arc.fingerprint import fingerprint
from arcvit.backbones.build import Backbone, build_backbone
from arcvit.backbones.source import DEMO
from arcvit.core.task import AdapterTask, TaskBackbone
from arcvit.data.pixels.augment import ToInput
from arcvit.data.pixels.preset import Preprocessing, resolve_preset, training_preprocessing
from arcvit.data.readers.layouts import open_task
from arcvit.data.readers.shots import told_shots
from arcvit.data.task import ImageTask
from arcvit.engine.class_weights import class_weights
from arcvit.engine.learner import Learner
from arcvit.recipe.few_shots import FEW, has_few_shot_defaults, images_of_a_class
from arcvit.recipe.images import RunImages, decode_run, decoded_as, fitted
from arcvit.recipe.methods import adapt, check_effect
from arcvit.recipe.recipe import Recipe

Say = Callable[[str], None]
"""Tells the user what is going on, in a line."""

_BUNDLED = str(resources.files("arcvit") / "assets")


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """What a run works with.

    Attributes:
        task: class names and splits.
        images: decoded images.
        decoding: seconds that decoding them took.
        backbone: the pretrained model with its head.
        model: the same model with what the method adds, trainable where it learns.
        prep: how images are prepared, and remain so at prediction.
        training_prep: how training images are prepared.
        to_input: turns decoded images into the model's input.
        training_input: turns decoded training images into it.
        adapter_task: what the outputs of the adapter mean.
        class_weights: how much images count in the loss by their class, (K,); None: all alike.
    """

    task: ImageTask
    images: RunImages
    decoding: float
    backbone: Backbone
    model: nn.Module
    prep: Preprocessing
    training_prep: Preprocessing
    to_input: ToInput
    training_input: ToInput
    adapter_task: AdapterTask
    class_weights: Tensor | None = None

    @property
    def head(self) -> nn.Module:
        """The head of the adapted model."""
        inner = getattr(self.model, "base_model", None)
        root = self.model if inner is None else inner.model
        head: nn.Module = root.get_submodule(self.backbone.head)
        return head

    @property
    def learner(self) -> Learner:
        """The whole model, learning from images."""
        return Learner(
            model=self.model,
            head=self.head,
            train=self.images.train,
            training_input=self.training_input,
            val=self.images.val,
            evaluation_input=self.to_input,
            class_weights=self.class_weights,
        )

    def to(self, device: torch.device) -> None:
        """Move the model, and what prepares its input, to a device."""
        for module in (self.model, self.to_input, self.training_input):
            module.to(device)


def prepare(recipe: Recipe, task: ImageTask, say: Say, *, read_test: bool = True) -> Workplace:
    """Build the backbone, put the adapters on it, decode the images. Nothing is written.

    Raises:
        UserError: whatever is wrong with data, backbone or method.
    """
    several = ", any number an image" if task.kind == "multilabel" else ""
    say(f"{task.name}: {len(task.classes)} classes{several}, " + _split_sizes(task))
    _say_few(recipe, task, say)
    if recipe.backbone == DEMO and not recipe.data.path.startswith(_BUNDLED):
        say(
            "demo, the backbone unless another is given, is a small one for 64 pixels:"
            " --backbone vit_small_patch16_224.augreg_in21k or vit_base_patch16_224.augreg_in21k"
            " does better, and is downloaded once"
        )
    weights = _class_weights(recipe, task)  # a wrong name shows before anything is built
    backbone = build_backbone(
        recipe.backbone,
        num_classes=len(task.classes),
        weights=recipe.weights,
        seed=recipe.seed,
        image_size=recipe.image_size,
        drop_path=recipe.drop_path,
        arguments=recipe.backbone_args,
    )
    prep = resolve_preset(
        recipe.data.preset, input_size=backbone.input_size, data_config=backbone.data_config
    )
    prep = decoded_as(recipe.data, prep, task)
    adapter_task = AdapterTask(
        labels=list(task.classes),
        kind=task.kind,
        head=backbone.head,
        preprocessing=prep.to_dict(),
        backbone=TaskBackbone(
            name=recipe.backbone,
            fingerprint=fingerprint(backbone.model, exclude=[backbone.head]),
            weights=recipe.weights,
            seed=recipe.seed,
            image_size=recipe.image_size,
            args=recipe.backbone_args,
            commit=backbone.commit,
        ),
    )
    # The adapters' initial values follow from the seed alone, whatever the backbone drew.
    set_seed(recipe.seed)
    model = adapt(backbone.model, recipe, backbone.head)
    check_effect(model, recipe, prep.size)
    training_prep = training_preprocessing(
        prep, preset=recipe.data.preset, augment=recipe.data.augment
    )
    start = time.perf_counter()
    images = decode_run(task, prep, training_prep, recipe.data, read_test=read_test)
    decoding = time.perf_counter() - start
    if images.skipped:
        say(f"{images.skipped} unreadable images are left out")
    return Workplace(
        task=task,
        images=images,
        decoding=decoding,
        backbone=backbone,
        model=model,
        prep=prep,
        training_prep=training_prep,
        to_input=ToInput.of(prep).eval(),
        training_input=ToInput.of(training_prep).train(),
        adapter_task=adapter_task,
        class_weights=weights,
    )


def open_recipe_task(recipe: Recipe) -> ImageTask:
    """The task a recipe names."""
    data = recipe.data
    return open_task(data.path, data.opening(recipe.task), tolerant=data.check == "warn")


def _class_weights(recipe: Recipe, task: ImageTask) -> Tensor | None:
    asked = recipe.optim.class_weights
    if asked is None:
        return None
    labels = torch.tensor(fitted(task, recipe.data).labels)
    return class_weights(asked, task.classes, labels)


def _say_few(recipe: Recipe, task: ImageTask, say: Say) -> None:
    """How a run of few images learns, where that is asked for or differs from that of many."""
    data, optim = recipe.data, recipe.optim
    if data.shots is not None:
        found = f"--data.shots {data.shots}, drawn by seed {data.shots_seed}"
    elif task.kind == "single" and has_few_shot_defaults(recipe.method):
        images = images_of_a_class(fitted(task, data))
        if images > FEW:
            return
        found = f"few images, {images} of a class (median)"
    else:
        return
    say(
        f"{found}: {recipe.engine.epochs} epochs, lr {optim.lr:g}, weight decay"
        f" {optim.weight_decay:g}, augmentation {data.augment}"
    )
    if data.shots is not None and (told := told_shots(task, data.shots)) is not None:
        say(told)


def _split_sizes(task: ImageTask) -> str:
    return ", ".join(f"{len(split)} {name}" for name, split in task.splits.items())
