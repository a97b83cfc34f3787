"""Time of a training step: ARC against the floor, LoRA, VeRA, bias tuning, linear and full.

    python benchmarks/train_step.py --backbone vit_base_patch16_224 --batch 8 --repeats 7

All competitors run in one process, one step of each a round, so that they share what the machine
does meanwhile. Prints the median of the steps and of each round's ratio to the floor: the frozen
backbone with a gradient down to the patch embedding, and a trained head.
"""

import time

import torch
from competitors import batch_for, machine, make, median_and_spread, parse, write


def main() -> None:
    """Measure and print."""
    options = parse(__doc__.splitlines()[0], repeats=7)
    images, labels = batch_for(options)
    competitors = [make(name, options) for name in options.competitors]
    seconds: dict[str, list[float]] = {c.name: [] for c in competitors}
    for repeat in range(options.repeats + 1):
        for competitor in competitors:
            _wait(options.device)
            start = time.perf_counter()
            competitor.step(images, labels)
            _wait(options.device)
            if repeat:  # the first round warms up
                seconds[competitor.name].append(time.perf_counter() - start)
    ratios = {
        name: [a / b for a, b in zip(values, seconds["floor"], strict=True)]
        for name, values in seconds.items()
    }
    print(machine(options))
    print(f"{'':<14}{'seconds':<28}over the floor")
    for name, values in seconds.items():
        print(f"{name:<14}{median_and_spread(values):<28}{median_and_spread(ratios[name])}")
    write(options.out, {"machine": machine(options), "seconds": seconds, "ratios": ratios})


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
