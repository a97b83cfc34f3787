"""Time of a training step: ARC against the floor, LoRA, VeRA, bias tuning, linear and full.

    python benchmarks/train_step.py --backbone vit_base_patch16_224 --batch 8 --repeats 7

All competitors run in one process, one step of each a round, so that they share what the machine
does meanwhile. Prints the median of the steps and of each round's ratio to the floor: the frozen
backbone with a gradient down to the patch embedding, and a trained head. Names in ``_trained``
send the class token alone through the last MLP, as ``arcvit train`` does.
"""

from collections.abc import Callable

import torch
from competitors import Competitor, batch_for, machine, make, parse
from interleaved import measure, ratios, report, write
from torch import Tensor


def main() -> None:
    """Measure and print."""
    options = parse(__doc__.splitlines()[0], repeats=7)
    images, labels = batch_for(options)
    steps = {
        name: _step_of(make(name, options), images, labels, options.device)
        for name in options.competitors
    }
    seconds = measure(steps, options.repeats, clock=options.clock)
    over = {name: ratios(values, seconds["floor"]) for name, values in seconds.items()}
    print(machine(options))
    report("seconds a step", seconds)
    report("over the floor", over)
    # As `arcvit train` runs them all, the frozen backbone included.
    alike = {
        name: ratios(values, seconds["floor_trained"])
        for name, values in seconds.items()
        if name.endswith("_trained") and "floor_trained" in seconds
    }
    if alike:
        report("over the floor as arcvit train runs it", alike)
    record = {"seconds": seconds, "ratios": over, "ratios_trained": alike}
    write(options.out, {"setting": machine(options), **record})


def _step_of(
    competitor: Competitor, images: Tensor, labels: Tensor, device: str
) -> Callable[[], None]:
    def step() -> None:
        competitor.step(images, labels)
        if device == "cuda":
            torch.cuda.synchronize()

    return step


if __name__ == "__main__":
    main()
