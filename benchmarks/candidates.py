"""Candidates for a better ARC, as methods from outside: `arcvit bench` compares them with the rest.

    PYTHONPATH=benchmarks arcvit bench SUITE --plugin candidates:CONSUMER_CORES \
        --methods arc_plus,lora:r=2,consumer_cores
    python benchmarks/candidates.py basis PHOTOS --out basis.pt
    ... --plugin candidates:FROZEN_CORES --methods frozen_cores,frozen_cores:basis=basis.pt

For timm's ViTs. They are experiments: the adapters of consumer_cores, bias_in_basis and
plus_bias_in_basis can't be loaded, those of the others are ARC's. The second command takes a basis
from other photos, a folder or a tar of them.
"""

import argparse
import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from arcvit.core.errors import UserError
from arcvit.core.settings import Count, Share
from arcvit.methods.arc import ARC, ARC_PLUS
from arcvit.methods.spec import MethodSpec, Part


@dataclass(frozen=True, kw_only=True)
class CandidateOptions:
    """A candidate with the basis of the task's own images.

    Attributes:
        r: width of the bottleneck; null: what gives about the numbers of LoRA r=2.
        dropout: dropout in the bottleneck.
    """

    r: Count | None = None
    dropout: Share = 0.1


@dataclass(frozen=True, kw_only=True)
class BasisOptions(CandidateOptions):
    """A candidate with a basis of the task's own images or of others.

    Attributes:
        r: width of the bottleneck; null: what gives about the numbers of LoRA r=2.
        dropout: dropout in the bottleneck.
        basis: file with a basis from other photos; empty: from the task's training images.
    """

    basis: str = ""

    def __post_init__(self) -> None:
        if self.basis and not Path(self.basis).is_file():
            raise UserError(f"basis is {self.basis!r}, which isn't there: expected a file.")


@dataclass(frozen=True, kw_only=True)
class ArcKind:
    """A candidate that is an adapter of ARC with some of it overwritten.

    Attributes:
        r: its rank where none is given.
        settings: of the adapter.
        whiten: D's columns are divided by the deviation along them.
        output_basis: U has the directions that the consumers read.
        bias_in_basis: the bias is ``D beta``.
        mean: and a multiple of the role's mean.
    """

    r: int
    settings: Mapping[str, Any]
    whiten: bool = False
    output_basis: bool = False
    bias_in_basis: bool = False
    mean: bool = False


def build_arc(kind: ArcKind, model: Any, options: CandidateOptions, head: str) -> Any:
    """ARC as the kind has it."""
    from candidate_layers import put_bias_in_basis
    from peft import get_peft_model

    from arcvit.arc.register import ArcConfig

    config = ArcConfig(
        **kind.settings,
        r=kind.r if options.r is None else options.r,
        arc_dropout=options.dropout,
        adapter_bias=not kind.bias_in_basis,
        modules_to_save=[head],
    )
    adapted = get_peft_model(model, config)
    if kind.bias_in_basis:
        put_bias_in_basis(adapted, mean=kind.mean)
    return adapted


def start_arc(kind: ArcKind, model: Any, options: CandidateOptions, batches: Iterable[Any]) -> None:
    """Its projections, from images or from a file."""
    from candidate_layers import set_arc

    found = _directions(model, options, batches)
    set_arc(model, found, whiten=kind.whiten, output_basis=kind.output_basis)


def build_cores(model: Any, options: BasisOptions, head: str) -> Any:
    """A core for q, k, v and fc1 each."""
    from candidate_layers import ConsumerCoresConfig, freeze_basis
    from peft import get_peft_model

    r = 27 if options.r is None else options.r
    config = ConsumerCoresConfig(r=r, dropout=options.dropout, modules_to_save=[head])
    adapted = get_peft_model(model, config)
    freeze_basis(adapted)
    return adapted


def start_cores(model: Any, options: BasisOptions, batches: Iterable[Any]) -> None:
    """Their basis, from images or from a file."""
    from candidate_layers import set_consumer_cores

    set_consumer_cores(model, _directions(model, options, batches))


def _directions(model: Any, options: CandidateOptions, batches: Iterable[Any]) -> Any:
    from candidate_layers import directions_of, read_directions

    file = getattr(options, "basis", "")
    return read_directions(file) if file else directions_of(model, batches)


RATES = (5e-4, 1e-3, 2e-3, 5e-3, 1e-2)

_BIAS = (
    Part(name="bias", held_in="arc_beta", rate="bias_lr"),
    Part(name="bias", held_in="arc_shift", rate="bias_lr"),
)


def _of_arc(
    name: str, summary: str, kind: ArcKind, *, like: MethodSpec = ARC, file: bool = True
) -> MethodSpec:
    return MethodSpec(
        name=name,
        summary=summary,
        options=BasisOptions if file else CandidateOptions,
        build=partial(build_arc, kind),
        start=partial(start_arc, kind),
        lr=2e-3,
        rates=RATES,
        parts=(*like.parts, *(_BIAS if kind.bias_in_basis else ())),
        tuner="arcvit.arc.register",
        size="r",
        folds=True,
        shares_parameters=True,
    )


_CORES = {"core": "full", "train_projection": False}
_APART = {**_CORES, "up_projection": "separate"}

FROZEN_CORES = _of_arc(
    "frozen_cores", "an r x r core a layer in a frozen basis", ArcKind(r=39, settings=_CORES)
)
WHITENED_CORES = _of_arc(
    "whitened_cores",
    "the same with a bottleneck of unit variance",
    ArcKind(r=39, settings=_APART, whiten=True),
    file=False,
)
OUTPUT_BASIS = _of_arc(
    "output_basis",
    "the same with an output basis of what consumers read",
    ArcKind(r=39, settings=_APART, output_basis=True),
)
BIAS_IN_BASIS = _of_arc(
    "bias_in_basis",
    "the same with the bias in the basis, and along the mean",
    ArcKind(r=41, settings=_CORES, bias_in_basis=True, mean=True),
    file=False,
)
PLUS_BIAS_IN_BASIS = _of_arc(
    "plus_bias_in_basis",
    "arc_plus with the bias in the basis",
    # With 48 columns of the bottleneck CUDA's kernels are full; r=48 is LoRA r=2's number exactly.
    ArcKind(r=47, settings={"variant": "arc_plus"}, bias_in_basis=True),
    like=ARC_PLUS,
)
DIRECTIONS = _of_arc(
    "directions",
    "c and b alone, in a frozen basis of all directions",
    ArcKind(r=192, settings={"coefficients_init": "zeros", "train_projection": False}),
    like=ARC_PLUS,
)
PLUS = _of_arc(
    "plus",
    "arc_plus with a basis of other photos",
    ArcKind(r=39, settings={"variant": "arc_plus"}),
    like=ARC_PLUS,
)
PLUS_FROZEN = _of_arc(
    "plus_frozen",
    "arc_plus with a basis that stays as it is",
    ArcKind(r=39, settings={"variant": "arc_plus", "train_projection": False}),
    like=ARC_PLUS,
)
CONSUMER_CORES = MethodSpec(
    name="consumer_cores",
    summary="an r x r core for q, k, v and fc1 each, in a frozen basis",
    options=BasisOptions,
    build=build_cores,
    start=start_cores,
    lr=2e-3,
    rates=RATES,
    parts=(
        Part(name="coefficients", held_in="cores_matrix", rate="coefficients_lr"),
        Part(name="bias", held_in="cores_bias", rate="bias_lr"),
    ),
    tuner="candidate_layers",
    size="r",
    shares_parameters=True,
)


def main() -> None:
    """Write the basis that photos give."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    basis = commands.add_parser("basis", help="principal directions of photos, as a file")
    basis.add_argument("photos", type=Path, help="folder or tar of photos")
    basis.add_argument("--out", type=Path, required=True)
    basis.add_argument("--backbone", default="demo")
    basis.add_argument("--count", type=int, default=512, help="photos, spread over all (512)")
    try:
        write_basis(**vars(parser.parse_args()))
    except UserError as error:
        parser.error(str(error))


def write_basis(photos: Path, *, out: Path, backbone: str, count: int) -> None:
    """Write ``{"att": (d, d), "ffn": (d, d)}``: eigenvectors by falling variance, as columns."""
    import timm.data
    import torch
    from candidate_layers import directions_of

    from arcvit.backbones.build import build_backbone

    model = build_backbone(backbone, num_classes=2).model
    transform = timm.data.create_transform(
        **timm.data.resolve_model_data_config(model) | {"crop_pct": 1.0}
    )
    images = torch.stack([transform(image) for image in _photos(photos, count)])
    found = directions_of(model, images.split(64))
    out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({role: of_role.vectors.float() for role, of_role in found.items()}, out)
    shares = {
        role: f"{float(of_role.variances[:39].sum() / of_role.variances.sum()):.1%}"
        for role, of_role in found.items()
    }
    print(f"{out}: from {len(images)} photos; of the variance in 39 directions: {shares}")


def _photos(source: Path, count: int) -> Iterator[Any]:
    """Photos of a folder or tar in RGB: as many, spread over all by name."""
    from PIL import Image

    def chosen(names: list[str]) -> list[str]:
        names = sorted(n for n in names if n.lower().endswith((".jpeg", ".jpg", ".png")))
        if not names:
            raise UserError(f"{source} holds no photos: expected some .jpeg, .jpg or .png.")
        number = min(count, len(names))
        return [names[i * len(names) // number] for i in range(number)]

    if source.is_dir():
        for name in chosen([str(path) for path in source.rglob("*")]):
            yield Image.open(name).convert("RGB")
        return
    if not source.is_file() or not tarfile.is_tarfile(source):
        raise UserError(f"{source} is neither a folder nor a tar: expected photos.")
    with tarfile.open(source) as archive:
        for name in chosen(archive.getnames()):
            member = archive.extractfile(name)
            assert member is not None
            yield Image.open(io.BytesIO(member.read())).convert("RGB")


if __name__ == "__main__":
    main()
