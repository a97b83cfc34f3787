"""``arcvit push``: upload a run's adapter to the hub, with its model card."""

from pathlib import Path

from arcvit.cli.parser import command_parser


def run(argv: list[str]) -> int:
    """Upload the adapter folder of a finished run."""
    parser = command_parser("push", "Upload the adapter of a run to the hub, with its model card.")
    parser.add_argument("run", type=Path, metavar="RUN", help="A run folder.")
    parser.add_argument("repo", metavar="USER/NAME", help="The repository.")
    parser.add_argument("--private", action="store_true", help="Make a new repository private.")
    options = parser.parse_args(argv)

    from arcvit.core.result import read_result
    from arcvit.export.hub import check_repo, push_folder
    from arcvit.recipe.run import ADAPTER_FOLDER

    check_repo(options.repo)
    read_result(options.run)
    print(push_folder(options.run / ADAPTER_FOLDER, options.repo, private=options.private))
    return 0
