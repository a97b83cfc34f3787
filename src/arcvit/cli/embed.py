"""``arcvit embed``: the features of images, for search, clusters and maps."""

from pathlib import Path

from arcvit.cli.image_paths import add_images, arriving_names, given_names
from arcvit.cli.outputs import spare
from arcvit.cli.parser import command_parser
from arcvit.cli.trained import add_trained
from arcvit.core.errors import UserError
from arcvit.core.files import atomic_path
from arcvit.core.writable import check_writable


def run(argv: list[str]) -> int:
    """Write features and paths as arrays."""
    parser = command_parser(
        "embed",
        "Features of images, as the head of a run or an adapter reads them: alike where images are"
        " alike. numpy.load gives features, float32 (images, width), and paths.",
    )
    add_trained(parser)
    add_images(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.npz", help="Where to.")
    options = parser.parse_intermixed_args(argv)
    if options.out.suffix != ".npz":
        raise UserError(f"--out {str(options.out)!r}: expected a name that ends in .npz.")
    spare([*options.images, options.list], out=options.out)
    check_writable(out=options.out)
    names = given_names(options)

    import numpy as np

    from arcvit.recipe.classifier import load
    from arcvit.recipe.given import file_of, one_by_one

    given = [name for arrived in arriving_names(names) for name in arrived]
    paths = [str(file_of(image)) for image in one_by_one(given)]
    if not paths:
        raise UserError("no image can be read of what was given.")
    classifier = load(options.run, backbone=options.backbone, force=options.force)
    features = classifier.embed(paths)
    with atomic_path(options.out) as partial:
        np.savez(partial, features=features, paths=np.array(paths))
    print(f"wrote {len(paths):,} features of {features.shape[1]:,} values to {options.out}")
    return 0
