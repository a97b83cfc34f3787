"""``arcvit data prepare``: build a benchmark task from its source."""

from pathlib import Path

from arcvit.cli.parser import command_parser


def run(argv: list[str]) -> int:
    """Write the task and say how many images it has."""
    parser = command_parser(
        "data prepare",
        "Build a task in the VTAB-1k layout, losslessly, from its source in any layout or from the"
        " Hugging Face hub. The training images are drawn anew: not VTAB's own draw.",
    )
    parser.add_argument("suite", choices=["vtab"], metavar="vtab", help="The suite.")
    parser.add_argument("task", metavar="TASK", help="Which task; see arcvit data list.")
    parser.add_argument(
        "--source", required=True, help="A folder in any layout, or hf:NAME for a hub's data set."
    )
    parser.add_argument("--out", type=Path, required=True, help="Folder for the task's folder.")
    parser.add_argument("--seed", type=int, default=0, help="Which images are drawn (default: 0).")
    options = parser.parse_args(argv)

    from arcvit.data.vtab_prepare import prepare_vtab

    written = prepare_vtab(options.task, options.source, options.out, seed=options.seed)
    shown = ", ".join(f"{count:,} {split}" for split, count in written.items())
    print(f"wrote {options.task} to {options.out}: {shown}")
    print("the test images are VTAB's, the training images another draw: see README.md in it")
    return 0
