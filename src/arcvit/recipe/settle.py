"""What a run finds out before its first step: memory mode, epochs, and how steps are executed."""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager

from accelerate import Accelerator

from arcvit.core.durations import seconds_in, spoken
from arcvit.engine.checkpoint import Checkpoints
from arcvit.engine.config import EngineConfig, MemoryMode
from arcvit.engine.learner import Learner
from arcvit.engine.memory_choice import fastest_that_fits
from arcvit.engine.mode import choose_plan
from arcvit.engine.runtime import Runtime
from arcvit.engine.time_limit import epochs_that_fit
from arcvit.recipe.recipe import Recipe

Say = Callable[[str], None]


def memory_mode(
    engine: EngineConfig, learner: Learner, accelerator: Accelerator, *, width: int, say: Say
) -> MemoryMode:
    """What was asked for; by default the fastest that fits a GPU, and fast elsewhere."""
    if engine.memory != "auto":
        return engine.memory
    if accelerator.device.type != "cuda":
        return "fast"
    found = fastest_that_fits(learner, accelerator, batch_size=width)
    say(f"memory mode {found}: the fastest that fits {accelerator.device}")
    return found


def within_time_limit(
    recipe: Recipe,
    learner: Learner,
    accelerator: Accelerator,
    checkpoints: Checkpoints,
    *,
    recomputed: AbstractContextManager[object],
    width: int,
    whole: Learner,
    images_after: int,
    elapsed: float,
    say: Say,
) -> EngineConfig:
    """As asked for, with the epochs that a time limit has room for.

    A resumed run has those it was begun with.

    Args:
        recipe: what was asked.
        learner: what is trained, on the accelerator's device, not yet prepared.
        accelerator: device, precision, processes.
        checkpoints: those of the run, which keep what is found.
        recomputed: context in which steps are in the memory mode of the run.
        width: images in a forward pass of this process.
        whole: the whole model, where the head learns alone.
        images_after: images that it looks at after the last epoch.
        elapsed: seconds since the run began.
        say: told what is found.
    """
    limit, engine, settings = recipe.time_limit, recipe.engine, checkpoints.settings
    if limit is None:
        return engine
    if "epochs" not in settings:
        left = seconds_in(limit, key="time_limit") - elapsed
        with recomputed:
            epochs, seconds = epochs_that_fit(
                learner,
                accelerator,
                engine,
                seconds=left,
                batch_size=width,
                whole=whole,
                images_after=images_after,
            )
        settings["epochs"] = epochs
        if seconds > left:
            say(f"warning: not even one epoch fits --time_limit {limit}: one is trained")
        else:
            takes = f"about {spoken(seconds)}"
            say(f"--time_limit {limit} has room for {epochs} of {engine.epochs} epochs, {takes}")
    return dataclasses.replace(engine, epochs=settings["epochs"])


def runtime_of(
    engine: EngineConfig,
    learner: Learner,
    accelerator: Accelerator,
    checkpoints: Checkpoints,
    *,
    memory: MemoryMode,
    say: Say,
) -> Runtime:
    """How steps are executed, and a word about it where it isn't as PyTorch runs them."""
    plan, lowered = choose_plan(
        engine,
        accelerator,
        learner.model,
        images=len(learner.train),
        memory=memory,
        resumed=checkpoints.settings.get("compile"),
        head_alone=learner.model is learner.head,
    )
    if lowered:
        say(lowered)
    if plan.mode != "off":
        say(plan.describe())
    return Runtime(learner.model, plan, say=say)
