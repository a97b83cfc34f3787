"""``arcvit data prepare``: build a benchmark task from its source."""

from pathlib import Path

from arcvit.cli.parser import command_parser


def run(argv: list[str]) -> int:
    """Write the task and say how many images it has."""
    parser = command_parser(
        "data prepare",
        "Build a task in the VTAB-1k layout, losslessly: each of the 19 from what"
        " tensorflow_datasets has prepared, read without TensorFlow and drawn as VTAB draws; some"
        " from other copies or the Hugging Face hub, with training images drawn anew.",
    )
    parser.add_argument("suite", choices=["vtab"], metavar="vtab", help="The suite.")
    parser.add_argument("task", metavar="TASK", help="Which task; see arcvit data list.")
    parser.add_argument(
        "--source",
        required=True,
        help="A folder of tensorflow_datasets, or in any layout, or hf:NAME for a hub's data set.",
    )
    parser.add_argument("--out", type=Path, required=True, help="Folder for the task's folder.")
    parser.add_argument(
        "--seed", type=int, default=0, help="Which images of other copies are drawn (default: 0)."
    )
    options = parser.parse_args(argv)

    from arcvit.data.make.vtab import prepare_vtab

    written = prepare_vtab(options.task, options.source, options.out, seed=options.seed)
    shown = ", ".join(f"{count:,} {split}" for split, count in written.counts.items())
    print(f"wrote {options.task} to {options.out}: {shown}")
    draw = "drawn as VTAB's are" if written.own_draw else "another draw"
    print(f"the test images are VTAB's, the training images {draw}: see README.md in it")
    return 0
