"""What a method is: the record that flags, defaults, searches, help and tables follow from.

No torch: the command line reads this.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from arcvit.core.errors import UserError
from arcvit.core.settings import check_settings

Build = Callable[[Any, Any, str], Any]
"""``build(model, options, head)``: the adapted model, with what the method trains trainable."""


Start = Callable[[Any, Any, Iterable[Any]], None]
"""``start(model, options, batches)``: sets what follows from training images, before training."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Parameters of a method that make a group of their own in the optimizer.

    Attributes:
        name: what the group is called.
        held_in: attribute of the method's layers that holds the parameters by adapter.
        rate: key of ``optim`` that scales their learning rate; None: they learn at ``optim.lr``.
        multiple: what it scales by where the key isn't set.
    """

    name: str
    held_in: str
    rate: str | None = None
    multiple: float = 1.0


@dataclass(frozen=True, kw_only=True)
class MethodSpec:
    """A way to adapt a backbone.

    Attributes:
        name: what it is called on the command line, in recipes and in tables.
        summary: what is trained beside the head, in a few words.
        options: dataclass of its settings; every field has a default.
        build: puts the method on a model; imports what it needs when it is called. It returns a
            ``PeftModel``, or the model itself where nothing is saved apart from it.
        start: sets values that follow from training images, inputs of the model in batches; it
            doesn't look at them where its options ask for none.
        lr: learning rate where none is given.
        rates: learning rates that ``arcvit bench --search grid`` tries; default: about a third of
            ``lr``, ``lr``, and three times as much.
        parts: parameters that make groups of their own in the optimizer.
        saved_as: what tells its ``adapter_config.json`` from another method's.
        tuner: module that makes its tuner known to PEFT when it is imported; None: PEFT knows it.
        size: the setting, a whole number, by which it trains more or less; None: there is none.
        folds: whether what was learned can be folded into the backbone.
        shares_parameters: whether blocks share parameters, which FSDP can't shard.
        section: where its settings stand in a recipe; default: under its name.
        fixed: settings that the name stands for.
        argument: reads what follows the name and a colon where that is no setting, as the FILE of
            ``peft:FILE``; returns settings.
        origin: the package, or ``--plugin`` flag, that a method from outside came with.
    """

    name: str
    summary: str
    options: type[Any]
    build: Build
    start: Start | None = None
    lr: float
    rates: tuple[float, ...] = ()
    parts: tuple[Part, ...] = ()
    saved_as: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    tuner: str | None = None
    size: str | None = None
    folds: bool = False
    shares_parameters: bool = False
    section: str = ""
    fixed: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    argument: Callable[[str], dict[str, Any]] | None = None
    origin: str | None = None

    def __post_init__(self) -> None:
        if not self.section:
            object.__setattr__(self, "section", self.name)
        if not self.rates:
            rates = tuple(float(f"{factor * self.lr:.2g}") for factor in (0.3, 1, 3))
            object.__setattr__(self, "rates", rates)

    def make_options(self, values: Mapping[str, Any] = MappingProxyType({})) -> Any:
        """The method's settings, defaults filled in.

        Raises:
            UserError: a value isn't allowed; the sentence names its key in a recipe.
        """
        for key, value in self.fixed.items():
            if values.get(key, value) != value:
                raise UserError(
                    f"{self.section}.{key} is {values[key]!r}, but {self.name} stands for"
                    f" {value!r}: take it out, or choose another method."
                )
        try:
            options = self.options(**{**values, **self.fixed})
            check_settings(self.section, options)
            return options
        except UserError as error:
            sentence = str(error)
            within = sentence.startswith(f"{self.section}.")
            raise UserError(sentence if within else f"{self.section}.{sentence}") from error

    def setting_names(self) -> list[str]:
        """Names of its settings."""
        return [setting.name for setting in dataclasses.fields(self.options)]
