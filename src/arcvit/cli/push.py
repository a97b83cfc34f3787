"""``arcvit push``: upload what was learned to the hub, with its model card."""

import sys
from pathlib import Path

from arcvit.cli.parser import command_parser
from arcvit.core.shown import plain


def run(argv: list[str]) -> int:
    """Upload the adapter of a finished run, an adapter, or an exported folder."""
    parser = command_parser("push", "Upload an adapter or a plain model, with its model card.")
    parser.add_argument(
        "folder",
        type=Path,
        metavar="RUN|ADAPTER|FOLDER",
        help="A run or adapter folder, or one that arcvit export wrote for timm or transformers.",
    )
    parser.add_argument("repo", metavar="USER/NAME", help="The repository.")
    parser.add_argument(
        "--private", action="store_true", help="Make a new repository private; refuse a public one."
    )
    options = parser.parse_args(argv)

    from arcvit.core.result import read_result
    from arcvit.core.task import has_task, read_task
    from arcvit.export.hub import check_repo, is_plain, push_folder
    from arcvit.recipe.run import ADAPTER_FOLDER

    check_repo(options.repo)
    folder: Path = options.folder
    if not has_task(folder) and not is_plain(folder):
        read_result(folder)
        folder = folder / ADAPTER_FOLDER
    print(push_folder(folder, options.repo, private=options.private))
    if not is_plain(folder):
        backbone = read_task(folder).backbone.name
        if Path(backbone).exists():
            print(
                f"arcvit: its backbone {plain(backbone)} is only here: who loads it elsewhere needs"
                " that, and names it with --backbone.",
                file=sys.stderr,
            )
    return 0
