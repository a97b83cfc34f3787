"""``arcvit compare``: runs side by side, and which images changed."""

from pathlib import Path
from typing import TYPE_CHECKING

from arcvit.cli.outputs import spare
from arcvit.cli.parser import command_parser
from arcvit.core.console import PlainConsole
from arcvit.core.shown import plain
from arcvit.core.writable import check_writable

if TYPE_CHECKING:
    from arcvit.recipe.compare import Comparison, Difference

_SHOWN = 3
"""Images named of each kind."""
_CHANCE = 0.05


def run(argv: list[str]) -> int:
    """Print accuracies with intervals, and for each pair what was fixed and what broke."""
    parser = command_parser(
        "compare",
        "Accuracy of several runs on the same images (same by content), with intervals that hold"
        " the truth 95 times in 100, and for each pair which images only one of them has right,"
        " with McNemar's exact test. With several labels an image it is the mAP, with a paired"
        " bootstrap over images, and an image is right where all of its labels are. Images that not"
        " all runs were measured on are left out.",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="Finished runs.")
    parser.add_argument(
        "--split",
        help="test, val or out_of_fold (default: the first of these that all runs have).",
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="List the images that changed.")
    options = parser.parse_args(argv)
    spare([], csv=options.csv)
    check_writable(csv=options.csv)

    from arcvit.recipe.compare import compare

    found = compare(*options.runs, split=options.split)
    if options.csv is not None:
        found.write(options.csv)
    _print(found, PlainConsole(soft_wrap=True))
    if options.csv is not None:
        print(f"wrote {plain(options.csv)}")
    return 0


def _print(found: "Comparison", console: PlainConsole) -> None:
    console.print(f"{found.metric} on {found.images:,} {found.split} images, with 95% intervals:")
    width = max(len(plain(one.run)) for one in found.runs)
    for one in found.runs:
        shares = f"{one.value:6.1%}  {one.low:.1%} to {one.high:.1%}"
        more = one.measured - found.images
        rest = f"  ({more:,} images that not all runs have are left out)" if more else ""
        console.print(f"  {plain(one.run):<{width}}  {shares}{rest}")
    for pair in found.differences:
        console.print(_verdict(pair, found))
        kinds = (("fixed", "was", pair.fixed, 0), ("broken", "now", pair.broken, 1))
        for change, when, images, wrong in kinds:
            named = [
                f"{said[0].path} ({said[0].label or 'no label'}, {when} taken for"
                f" {said[wrong].predicted or 'no label'})"
                for said in images[:_SHOWN]
            ]
            rest = f" and {len(images) - _SHOWN:,} more" if len(images) > _SHOWN else ""
            if named:
                console.print(f"  {change}: {', '.join(map(plain, named))}{rest}")


def _verdict(pair: "Difference", found: "Comparison") -> str:
    fixed, broken = len(pair.fixed), len(pair.broken)
    value = {one.run: one.value for one in found.runs}
    better = "better" if value[pair.after] > value[pair.before] else "worse"
    test = "McNemar's p" if found.metric == "accuracy" else "p of the bootstrap"
    verdict = f"{plain(pair.after)} is {better}" if pair.p < _CHANCE else "that may well be chance"
    return (
        f"from {plain(pair.before)} to {plain(pair.after)}: {fixed:,} fixed, {broken:,} broken;"
        f" {verdict} ({test} = {pair.p:.2g})"
    )
