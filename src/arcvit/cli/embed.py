"""``arcvit embed``: the features of images, for search, clusters and maps."""

from pathlib import Path

from arcvit.cli.image_paths import arriving_names, listed_names
from arcvit.cli.parser import command_parser
from arcvit.core.errors import UserError
from arcvit.core.files import atomic_path


def run(argv: list[str]) -> int:
    """Write features and paths as arrays."""
    parser = command_parser(
        "embed",
        "Features of images, as the head of a run or an adapter reads them: alike where images are"
        " alike. numpy.load gives features, float32 (images, width), and paths.",
    )
    parser.add_argument(
        "run", metavar="RUN|ADAPTER", help="A run or adapter folder, or USER/NAME on the hub."
    )
    parser.add_argument(
        "images",
        nargs="*",
        metavar="IMAGE",
        help="Image files, folders, patterns such as 'photos/**/*.jpg', or - for paths on standard"
        " input, one a line.",
    )
    parser.add_argument(
        "--list", type=Path, metavar="FILE", help="A file with a path in each line."
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.npz", help="Where to.")
    parser.add_argument("--backbone", help="Where the backbone lies now, if it has moved.")
    parser.add_argument("--force", action="store_true", help="Allow another backbone's weights.")
    options = parser.parse_intermixed_args(argv)
    if options.out.suffix != ".npz":
        raise UserError(f"--out {str(options.out)!r}: expected a name that ends in .npz.")
    names = options.images + ([] if options.list is None else listed_names(options.list))

    import numpy as np

    from arcvit.recipe.classifier import load
    from arcvit.recipe.given import file_of, one_by_one

    given = [name for arrived in arriving_names(names) for name in arrived]
    paths = [str(file_of(image)) for image in one_by_one(given)]
    if not paths:
        raise UserError("no image is given: expected files, folders, patterns or --list FILE.")
    classifier = load(options.run, backbone=options.backbone, force=options.force)
    features = classifier.embed(paths)
    with atomic_path(options.out) as partial:
        np.savez(partial, features=features, paths=np.array(paths))
    print(f"wrote {len(paths):,} features of {features.shape[1]:,} values to {options.out}")
    return 0
