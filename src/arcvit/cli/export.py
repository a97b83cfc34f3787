"""``arcvit export``: write a run for other software."""

import argparse
from pathlib import Path

from arcvit.cli.parser import command_parser
from arcvit.core.writable import check_writable
from arcvit.export.formats import FORMATS, check_export, flags_of_all


def run(argv: list[str]) -> int:
    """Check, load, write, read back in the format's own runtime, compare."""
    parser = command_parser(
        "export",
        "Write a run for other software, which needs no arcvit. What was written is loaded again\n"
        "in its own runtime and compared with the adapted model before it gets its name.",
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    width = max(map(len, FORMATS))
    listed = [f"  {form.name:<{width}}  {form.help}" for form in FORMATS.values()]
    parser.epilog = "\n".join(["formats:", *listed])
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN|ADAPTER",
        help="A run or adapter folder, or USER/NAME on the hub; several for some formats.",
    )
    parser.add_argument("--format", required=True, metavar="FORMAT", help="One of those below.")
    parser.add_argument("--out", type=Path, required=True, help="The file or folder to write.")
    parser.add_argument("--backbone", help="Where the backbone lies now, if it has moved.")
    parser.add_argument("--force", action="store_true", help="Allow another backbone's weights.")
    for name, (flag, formats) in flags_of_all().items():
        text = f"{flag.help} (--format {', '.join(formats)})"
        if flag.is_switch:
            parser.add_argument(f"--{name}", action="store_const", const=True, help=text)
        else:
            metavar = f"{{{','.join(flag.choices)}}}" if flag.choices else name.upper()
            parser.add_argument(f"--{name}", metavar=metavar, help=text)
    options = parser.parse_intermixed_args(argv)
    values = {name: getattr(options, name) for name in flags_of_all()}
    flags = {name: value for name, value in values.items() if value is not None}
    check_export(options.out, format=options.format, runs=len(options.runs), flags=flags)
    check_writable(out=options.out)

    from arcvit.recipe.export import export_adapters

    exported = export_adapters(
        options.runs,
        options.out,
        format=options.format,
        backbone=options.backbone,
        force=options.force,
        **flags,
    )
    print(
        f"wrote {exported.path} ({size_text(exported.bytes)}); logits differ from the adapted"
        f" model by at most {exported.difference:.1e} on {exported.compared_on}"
    )
    for note in exported.notes:
        print(note)
    print(f"To load it without arcvit:\n\n{exported.loading}")
    return 0


def size_text(count: int) -> str:
    """Bytes for people: 386 KB, 16.6 MB."""
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.0f} KB"
