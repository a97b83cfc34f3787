"""``arcvit data prepare``: build a benchmark task from its source."""

from argparse import Namespace
from pathlib import Path

from arcvit.cli.parser import command_parser
from arcvit.core.errors import UserError
from arcvit.core.writable import check_writable_folders


def run(argv: list[str]) -> int:
    """Write the task and say how many images it has."""
    parser = command_parser(
        "data prepare",
        "Build a benchmark task from its source. vtab: one of the 19 in the VTAB-1k layout,"
        " losslessly, from what tensorflow_datasets has prepared, read without TensorFlow and drawn"
        " as VTAB draws; some from other copies or the Hugging Face hub, with training images drawn"
        " anew. fgvc: one of the 5 in VPT's layout, from the original download as it unpacks.",
    )
    parser.add_argument("suite", choices=["vtab", "fgvc"], metavar="SUITE", help="vtab or fgvc.")
    parser.add_argument("task", metavar="TASK", help="Which task; see arcvit data list.")
    parser.add_argument(
        "--source",
        required=True,
        help="vtab: a folder of tensorflow_datasets, or in any layout, or hf:NAME for a hub's data"
        " set. fgvc: the folder that the archives were unpacked in.",
    )
    parser.add_argument("--out", type=Path, required=True, help="Folder for the task's folder.")
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="Which images are drawn: of other copies for vtab, to validate for fgvc (default: 0).",
    )
    parser.add_argument(
        "--lists",
        type=Path,
        help="fgvc: a folder with VPT's train.json, val.json and test.json, or with such a folder"
        " for each task. Those beside the source's own lists are taken, too.",
    )
    parser.add_argument(
        "--copy", action="store_true", help="fgvc: copy the images; they are linked to otherwise."
    )
    options = parser.parse_args(argv)
    check_writable_folders(out=options.out.expanduser())
    return _vtab(options) if options.suite == "vtab" else _fgvc(options)


def _vtab(options: Namespace) -> int:
    for flag, given in (("--lists", options.lists is not None), ("--copy", options.copy)):
        if given:
            raise UserError(f"{flag} is for fgvc: vtab has its own lists and writes PNG files.")
    from arcvit.data.make.vtab import prepare_vtab

    written = prepare_vtab(options.task, options.source, options.out, seed=options.seed)
    print(f"wrote {options.task} to {options.out}: {_shown(written.counts)}")
    draw = "drawn as VTAB's are" if written.own_draw else "another draw"
    print(f"the test images are VTAB's, the training images {draw}: see README.md in it")
    return 0


def _fgvc(options: Namespace) -> int:
    from arcvit.data.catalogue import find_task
    from arcvit.data.make.fgvc import prepare_fgvc

    task = find_task(options.task, suite="fgvc")
    prepared = prepare_fgvc(
        task,
        Path(options.source),
        options.out,
        seed=options.seed,
        lists=options.lists,
        copy=options.copy,
    )
    wrote = "wrote" if prepared.written else "already there, and the same:"
    print(f"{wrote} {prepared.folder}: {_shown(prepared.counts)}")
    print(
        {
            "official": "train, val and test are the data set's own parts, as VPT's are",
            "lists": f"train, val and test are the lists in {prepared.lists}, checked against the"
            " official parts",
            "drawn": "test is the official part; VPT's own val was drawn at random, so this one is"
            f" another tenth of train (seed {options.seed}): --lists DIR takes VPT's",
        }[prepared.validation]
    )
    return 0


def _shown(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in counts.items())
