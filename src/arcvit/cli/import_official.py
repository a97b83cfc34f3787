"""``arcvit import``: an official checkpoint of the authors as an adapter folder."""

from pathlib import Path

from arcvit.cli.parser import command_parser
from arcvit.core.errors import UserError
from arcvit.core.writable import check_writable_folders


def run(argv: list[str]) -> int:
    """Convert, and say what was found."""
    parser = command_parser(
        "import", "Turn a fine-tuned checkpoint of the authors' ViT or Swin into an adapter folder."
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="Their .bin or .pth file.")
    parser.add_argument("--out", type=Path, required=True, help="The adapter folder to write.")
    parser.add_argument(
        "--backbone", help="The backbone it was trained on, if you have it: a timm name or a file."
    )
    parser.add_argument(
        "--backbone_out", type=Path, help="Write the backbone too, as a timm checkpoint folder."
    )
    parser.add_argument("--classes", type=Path, help="A text file with a class name a line.")
    parser.add_argument("--preset", default="vtab", help="How images are prepared (vtab).")
    parser.add_argument("--heads", type=int, help="Attention heads, if not those of ViT-B, L, H.")
    options = parser.parse_args(argv)
    check_writable_folders(out=options.out, backbone_out=options.backbone_out)
    classes = None
    if options.classes is not None:
        if not options.classes.is_file():
            raise UserError(f"--classes {str(options.classes)!r} isn't there.")
        try:
            classes = options.classes.read_text(encoding="utf-8-sig").split("\n")
        except UnicodeDecodeError as error:
            raise UserError(
                f"--classes {str(options.classes)!r} isn't text in UTF-8 ({error.reason}): expected"
                " a class name a line."
            ) from error
        classes = [line.strip() for line in classes if line.strip()]

    from arcvit.recipe.official import import_official

    imported = import_official(
        options.file,
        options.out,
        heads=options.heads,
        classes=classes,
        preset=options.preset,
        backbone=options.backbone,
        backbone_out=options.backbone_out,
    )
    found = imported.checkpoint
    print(
        f"{found.variant}, r={found.r}, {imported.classes} classes, on {found.architecture};"
        f" the adapter is in {options.out}"
    )
    if options.backbone_out is not None:
        print(f"the backbone is in {options.backbone_out}")
    if found.ffn_placement == "residual":
        print("its FFN adapters sit before the norm, as in the authors' Swin: they can't be merged")
    return 0
