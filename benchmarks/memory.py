"""Memory of a training step: bytes kept for the backward pass, exactly, and the device's peak.

    python benchmarks/memory.py --backbone vit_base_patch16_224 --batch 8

Counts what autograd keeps between forward and backward with saved-tensor hooks: each storage once,
parameters and buffers left out. Where a region is computed again, that is what it keeps for that.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from competitors import batch_for, machine, make, parse
from interleaved import write
from torch import Tensor, nn


def main() -> None:
    """Count and print."""
    options = parse(__doc__.splitlines()[0], repeats=1)
    images, labels = batch_for(options)
    kept: dict[str, int] = {}
    peaks: dict[str, int] = {}
    for name in options.competitors:
        competitor = make(name, options)
        competitor.step(images, labels)
        with kept_for_backward(competitor.model) as storages:
            loss = competitor.loss(images, labels)
        kept[name] = sum(storages.values())
        loss.backward()
        competitor.optimizer.zero_grad()
        del loss
        if options.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
            for _ in range(options.repeats):
                competitor.step(images, labels)
            peaks[name] = torch.cuda.max_memory_allocated()
    print(machine(options))
    print(f"{'':<22}{'kept, MB':>10}{'over floor':>12}{'peak, MB':>10}{'over floor':>12}")
    for name, size in kept.items():
        line = f"{name:<22}{size / 1e6:>10.1f}{size / kept['floor']:>12.4f}"
        if peaks:
            line += f"{peaks[name] / 1e6:>10.1f}{peaks[name] / peaks['floor']:>12.4f}"
        print(line)
    write(options.out, {"setting": machine(options), "kept_bytes": kept, "peak_bytes": peaks})


@contextmanager
def kept_for_backward(model: nn.Module) -> Iterator[dict[int, int]]:
    """Within the context, gathers the storages that autograd keeps: address to bytes."""
    owned = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in owned:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda packed: packed):
        yield storages


if __name__ == "__main__":
    main()
