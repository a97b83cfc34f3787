"""A recipe: everything that decides what a run does. No torch: the command line reads this."""

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Any

from arcvit.core.durations import seconds_in
from arcvit.core.errors import UserError
from arcvit.core.metric import METRICS, Metric
from arcvit.core.settings import Count, Range, Share, check_settings
from arcvit.core.task import Kind
from arcvit.data.config import DataConfig, Seed
from arcvit.engine.config import EngineConfig, OptimConfig
from arcvit.methods.spec import MethodSpec
from arcvit.methods.table import method_named


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what a run does.

    Attributes:
        data: the images.
        task: an image has one of the labels (single), or any number of them, none too (multilabel),
            each with a probability of its own.
        backbone: timm name, hf-hub:USER/NAME or transformers:USER/NAME on the hub, file or folder
            of a pretrained vision transformer, or demo, which is bundled and needs no network.
        backbone_args: what to change in its architecture, as {global_pool: avg}: arguments of its
            constructor in timm, or entries of its config in transformers.
        weights: pretrained (the backbone's own, from the hub or beside the file), random, or a
            local .safetensors or .pth file.
        image_size: edge of the input in pixels; default: the backbone's own.
        drop_path: stochastic depth of the backbone while training.
        method: what is trained beside the head; METHOD:KEY=VALUE sets its settings too, as
            lora:r=2.
        options: settings of the method; in YAML they stand under the method's name.
        init_from: a finished run or an adapter to start from, of the same backbone and method; its
            head's rows are carried over by the names of their classes.
        time_limit: how long the run may take, as 90s, 10m or 1h30m: steps are measured, and as many
            epochs are trained as fit, at most engine.epochs.
        folds: parts that the training and validation images are divided into: each is predicted by
            a model that learns from the others, which gives the out-of-fold accuracy and the
            calibration; the model that is kept then learns from all of them.
        metric: what every choice on validation goes by, as the settings that a search tries:
            accuracy (the default), balanced_accuracy (the mean of the classes' accuracies) or
            macro_f1 (the mean of their F1 scores); with several labels an image mAP (the default),
            macro_f1, micro_f1 (of all decisions together) or exact_match.
        optim: the optimizer.
        engine: the training loop.
        seed: seed of order, initialisation and dropout.
    """

    data: DataConfig
    task: Kind = "single"
    backbone: str = "demo"
    backbone_args: dict[str, Any] = field(default_factory=dict)
    weights: str = "pretrained"
    image_size: Count | None = None
    drop_path: Share = 0.0
    method: str = "arc"
    options: Any = None
    init_from: str | None = None
    time_limit: str | None = None
    folds: Annotated[int, Range(at_least=2)] | None = None
    metric: Metric | None = None
    optim: OptimConfig = field(default_factory=OptimConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_settings("", self)
        if self.time_limit is not None:
            seconds_in(self.time_limit, key="time_limit")
        if self.folds is not None:
            self._check_folds()
            object.__setattr__(self, "data", dataclasses.replace(self.data, fit_on="trainval"))
        spec = self.spec
        if self.options is None:
            object.__setattr__(self, "options", spec.make_options())
        elif not isinstance(self.options, spec.options):
            raise UserError(
                f"options are {type(self.options).__name__}: method {self.method} expects"
                f" {spec.options.__name__}."
            )
        check_settings(spec.section, self.options)
        if self.chosen_by not in METRICS[self.task]:
            raise UserError(
                f"metric is {self.metric!r} and task {self.task}: expected one of"
                f" {', '.join(METRICS[self.task])}."
            )
        if self.task == "multilabel" and self.optim.class_weights is not None:
            raise UserError(
                "optim.class_weights weighs images by the one class that they are of: leave it out"
                " with task multilabel."
            )

    def _check_folds(self) -> None:
        if self.task == "multilabel":
            raise UserError(
                "folds measures tasks of one label an image: leave it out with task multilabel, or"
                " give --data.folds and --data.fold for one fold at a time."
            )
        if self.data.folds is not None:
            raise UserError(
                "folds and data.folds are both given: expected --folds, which trains on all folds"
                " in turn, or --data.folds with --data.fold, which trains on all but one."
            )

    @property
    def spec(self) -> MethodSpec:
        """What the method is."""
        return method_named(self.method)

    @property
    def chosen_by(self) -> Metric:
        """The metric that choices on validation go by."""
        return self.metric or METRICS[self.task][0]

    def resolved(self) -> "Recipe":
        """The recipe with the method's own learning rates, the metric and the draw filled in."""
        own: dict[str, Any] = {"lr": self.spec.lr, "coefficients_lr": 1.0}
        own |= {part.rate: part.multiple for part in self.spec.parts if part.rate}
        missing = {key: value for key, value in own.items() if getattr(self.optim, key) is None}
        optim = dataclasses.replace(self.optim, **missing)
        data = self.data
        if data.shots is not None and data.shots_seed is None:
            data = dataclasses.replace(data, shots_seed=self.seed)
        return dataclasses.replace(self, data=data, optim=optim, metric=self.chosen_by)

    def to_dict(self) -> dict[str, Any]:
        """The recipe as the keys of its YAML file: the settings stand under the method's name."""
        values: dict[str, Any] = {}
        for key, value in dataclasses.asdict(self).items():
            if key == "options":
                values[self.spec.section] = value
                if self.spec.origin is not None:
                    values["method_from"] = self.spec.origin
            else:
                values[key] = value
        return values
