"""The runs that settings are judged by: several seeds, folds of the images, or both. No torch."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from arcvit.recipe.recipe import Recipe
from arcvit.sweep.space import Settings


@dataclass(frozen=True, kw_only=True)
class Try:
    """One of the runs that settings are judged by.

    Attributes:
        seed: its seed.
        fold: the fold it is validated on, from 0.
        folds: how many there are; None: it is validated on the validation split.
    """

    seed: int
    fold: int = 0
    folds: int | None = None

    def __str__(self) -> str:
        """As in messages."""
        return f"seed {self.seed}" + ("" if self.folds is None else f" fold {self.fold}")

    def folder(self, settings: Settings) -> str:
        """The name of its folder."""
        parts = [f"{key}={value!r}" for key, value in settings.items()]
        parts.append(f"seed={self.seed}")
        if self.folds is not None:
            parts.append(f"fold={self.fold}of{self.folds}")
        return ",".join(parts)

    def recipe(self, recipe: Recipe) -> Recipe:
        """A recipe as it is tried: trained on the training split, measured at the end."""
        data = dataclasses.replace(recipe.data, fit_on="train")
        if self.folds is not None:
            data = dataclasses.replace(data, folds=self.folds, fold=self.fold)
        engine = dataclasses.replace(recipe.engine, validate_every=0)
        return dataclasses.replace(recipe, data=data, engine=engine, seed=self.seed)


def tries(seeds: Sequence[int], folds: int | None) -> tuple[Try, ...]:
    """One for each seed, or for each fold with the seeds in turn; never fewer than either."""
    if folds is None:
        return tuple(Try(seed=seed) for seed in seeds)
    return tuple(
        Try(seed=seeds[index % len(seeds)], fold=index % folds, folds=folds)
        for index in range(max(len(seeds), folds))
    )
