"""``arcvit merge``: fold a run into a plain model of timm or transformers."""

from pathlib import Path

from arcvit.cli.parser import command_parser
from arcvit.cli.trained import add_trained
from arcvit.core.writable import check_writable


def run(argv: list[str]) -> int:
    """Fold, write, read back without arcvit, compare."""
    parser = command_parser(
        "merge",
        "Fold a run into a plain model of timm or transformers: no adapter and no arcvit at"
        " inference.",
    )
    add_trained(parser)
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="NAME.safetensors (config in NAME.json), or a folder that timm loads by local-dir:;"
        " for a model of transformers a folder that from_pretrained and pipeline load.",
    )
    options = parser.parse_args(argv)
    check_writable(out=options.out)

    from arcvit.recipe.load import load_trained
    from arcvit.recipe.merge import check_target, merge_run

    check_target(options.out)
    loaded = load_trained(options.run, backbone=options.backbone, force=options.force)
    merged = merge_run(loaded, options.out)
    print(
        f"wrote {options.out}; logits differ from the adapted model by at most"
        f" {merged.difference:.1e}"
    )
    for note in merged.notes:
        print(note)
    return 0
