"""``arcvit predict``: class names for images."""

import json
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

    import torch

    from arcvit.data.pixels.augment import ToInput
    from arcvit.data.pixels.decode import decode_all
    from arcvit.engine.device import choose_device
    from arcvit.recipe.load import load_run

    loaded = load_run(options.run, backbone=options.backbone, force=options.force)
    prep = loaded.card.prep
    pixels = decode_all(options.images, prep)
    device = choose_device("auto")
    model, to_input = loaded.model.to(device), ToInput.of(prep).to(device).eval()
    with torch.inference_mode():
        probabilities = torch.cat(
            [model(to_input(batch.to(device))).softmax(-1).cpu() for batch in pixels.split(64)]
        )
    top = probabilities.topk(min(options.top, len(loaded.card.classes)))
    for image, values, labels in zip(options.images, top.values, top.indices, strict=True):
        ranked = [
            (loaded.card.classes[label], value)
            for label, value in zip(labels.tolist(), values.tolist(), strict=True)
        ]
        if options.json:
            record = [{"class": name, "probability": value} for name, value in ranked]
            print(json.dumps({"image": str(image), "predictions": record}))
        else:
            print(f"{image}  " + "  ".join(f"{name} {value:.1%}" for name, value in ranked))
    return 0
