"""``arcvit predict``: class names for images."""

import json
import sys
from pathlib import Path

from arcvit.cli.parser import command_parser
from arcvit.core.errors import UserError


def run(argv: list[str]) -> int:
    """Print the most probable classes of each image."""
    parser = command_parser("predict", "Class names for images, from the adapter of a run.")
    parser.add_argument("run", type=Path, metavar="RUN", help="A run folder.")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="Image files.")
    parser.add_argument("--top", type=int, default=5, help="Classes shown an image (default: 5).")
    parser.add_argument("--backbone", help="Where the backbone lies now, if it has moved.")
    parser.add_argument("--force", action="store_true", help="Allow another backbone's weights.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object an image.")
    options = parser.parse_args(argv)
    if options.top < 1:
        raise UserError(f"--top {options.top} shows nothing: expected at least 1.")

    from arcvit.recipe.load import load_run

    loaded = load_run(options.run, backbone=options.backbone, device="auto", force=options.force)
    probabilities = loaded.predict(options.images, on_blank=_say_blank)
    top = probabilities.topk(min(options.top, len(loaded.labels)))
    for image, values, labels in zip(options.images, top.values, top.indices, strict=True):
        ranked = [
            (loaded.labels[label], value)
            for label, value in zip(labels.tolist(), values.tolist(), strict=True)
        ]
        if options.json:
            record = [{"class": name, "probability": value} for name, value in ranked]
            print(json.dumps({"image": str(image), "predictions": record}))
        else:
            print(f"{image}  " + "  ".join(f"{name} {value:.1%}" for name, value in ranked))
    return 0


def _say_blank(blank: list[Path]) -> None:
    from arcvit.data.findings import examples

    print(
        f"warning: {len(blank)} image(s) are blank, nothing is to be seen on them:"
        f" {examples(blank)}",
        file=sys.stderr,
    )
