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
    from arcvit.recipe.merge import lost_calibration, lost_in_config, lost_thresholds, merge_run

    loaded = load_trained(options.run, backbone=options.backbone, force=options.force)
    difference = merge_run(loaded, options.out)
    print(f"wrote {options.out}; logits differ from the adapted model by at most {difference:.1e}")
    for sentence in (
        lost_in_config(loaded.preprocessing),
        lost_calibration(loaded.task),
        lost_thresholds(loaded.task),
    ):
        if sentence:
            print(sentence)
    return 0
