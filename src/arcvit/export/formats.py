"""The table of formats that ``arcvit export`` writes. No torch: the command line reads this."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from arcvit.core.errors import UserError, nearest
from arcvit.core.extras import require


@dataclass(frozen=True, kw_only=True)
class Flag:
    """A setting that one format has.

    Attributes:
        name: in Python; ``--name`` on the command line.
        help: what it does.
        choices: values it takes; none: any text, or with ``is_switch`` none at all.
        is_switch: whether it is on or off.
        makes_folder: whether what is written is a folder where it is given.
    """

    name: str
    help: str
    choices: tuple[str, ...] = ()
    is_switch: bool = False
    makes_folder: bool = False


@dataclass(frozen=True, kw_only=True)
class Format:
    """A format.

    Attributes:
        name: what ``--format`` takes.
        help: what it is for, in a line.
        writer: ``module:function`` within ``arcvit.export``. The function is called as
            ``write(runs, out, **flags)`` with a list of
            :class:`~arcvit.export.adapted.AdaptedModel`, one unless ``several``, and the scratch
            place to write to; it reads back what it wrote, compares, and returns
            :class:`~arcvit.export.adapted.Written`.
        suffix: how the file's name ends; empty: a folder is written.
        extra: the extra of arcvit that has its libraries; None: none is needed.
        several: whether it takes several runs, which are then written into one folder.
        flags: settings of its own.
    """

    name: str
    help: str
    writer: str
    suffix: str = ""
    extra: str | None = None
    several: bool = False
    flags: tuple[Flag, ...] = ()

    @property
    def write(self) -> Callable[..., Any]:
        """The function that writes it; its libraries are imported now."""
        module, _, function = self.writer.partition(":")
        write: Callable[..., Any] = getattr(
            importlib.import_module(f"arcvit.export.{module}"), function
        )
        return write


FORMATS = {
    form.name: form
    for form in (
        Format(
            name="timm",
            help="a folder that timm loads by local-dir:, and transformers' pipeline too",
            writer="timm_folder:write_timm",
        ),
        Format(
            name="transformers",
            help="a folder that from_pretrained and pipeline load, of a model of transformers",
            writer="transformers_folder:write_transformers",
            extra="transformers",
        ),
        Format(
            name="torch",
            help="a .pt2 that torch.export.load runs without timm, transformers or arcvit",
            writer="torch_program:write_torch",
            suffix=".pt2",
        ),
        Format(
            name="lora",
            help="a folder that PEFT loads on the plain backbone: ARC as LoRA, exactly",
            writer="lora_folder:write_lora",
        ),
        Format(
            name="onnx",
            help="a file for ONNX Runtime; of several runs one graph, and a small file each",
            writer="onnx_model:write_onnx",
            suffix=".onnx",
            extra="onnx",
            several=True,
            flags=(
                Flag(
                    name="shared",
                    help="a graph that takes adapters as inputs, and a file for each run; always"
                    " so of several runs",
                    is_switch=True,
                    makes_folder=True,
                ),
                Flag(
                    name="int8",
                    help="round the weights of linear layers to 8 bits",
                    is_switch=True,
                ),
            ),
        ),
        Format(
            name="web",
            help="a folder for any web server: a page whose model runs in the visitor's browser",
            writer="web.folder:write_web",
            extra="onnx",
            several=True,
            flags=(
                Flag(
                    name="runtime",
                    help="onnxruntime-web as npm packs it, unpacked or not; otherwise npm gets it",
                ),
                Flag(
                    name="int8",
                    help="round the weights of linear layers to 8 bits",
                    is_switch=True,
                ),
            ),
        ),
    )
}


def check_export(out: Path, *, format: str, runs: int, flags: Mapping[str, Any]) -> Format:
    """The format of a name, where what is asked of it can be done; nothing is loaded for that.

    Args:
        out: the file or folder to write.
        format: the format's name.
        runs: how many runs go into it.
        flags: settings of the format.

    Raises:
        UserError: there is no such format, its extra isn't installed, it doesn't take so many runs
            or one of the flags, or the target is taken or has another format's ending.
    """
    if format not in FORMATS:
        raise UserError(
            f"there is no format {format!r}: expected {', '.join(FORMATS)}."
            + nearest(format, FORMATS)
        )
    form = FORMATS[format]
    if runs < 1 or (runs > 1 and not form.several):
        takes = [name for name, other in FORMATS.items() if other.several]
        others = f", or {' or '.join(takes)}, which takes several" if takes else ""
        raise UserError(f"{runs} runs for the format {format}: expected one{others}.")
    _check_flags(form, flags)
    _check_target(form, out, is_folder=_writes_folder(form, runs, flags))
    if form.extra is not None:
        require(form.extra, f"the format {format}")
    return form


def _writes_folder(form: Format, runs: int, flags: Mapping[str, Any]) -> bool:
    asked = any(flag.makes_folder and flags.get(flag.name) for flag in form.flags)
    return not form.suffix or runs > 1 or asked


def _check_flags(form: Format, flags: Mapping[str, Any]) -> None:
    own = {flag.name: flag for flag in form.flags}
    for name, value in flags.items():
        if name not in own:
            its = [n for n, f in FORMATS.items() if any(flag.name == name for flag in f.flags)]
            whose = f"it is a setting of {' and '.join(its)}" if its else "there is no such setting"
            hint = "" if its else nearest(name, own)
            raise UserError(f"the format {form.name} has no {name!r}: {whose}.{hint}")
        choices = own[name].choices
        if choices and value not in choices:
            raise UserError(f"{name} is {value!r}: expected {' or '.join(choices)}.")


def _check_target(form: Format, out: Path, *, is_folder: bool) -> None:
    if is_folder and out.suffix in _FILES:
        raise UserError(f"--out {str(out)!r}: {form.name} writes a folder here, not a file.")
    if not is_folder and out.suffix != form.suffix:
        raise UserError(
            f"--out {str(out)!r}: expected a file for the format {form.name}, NAME{form.suffix}."
        )
    is_empty_folder = is_folder and out.is_dir() and not any(out.iterdir())
    if out.exists() and not is_empty_folder:
        raise UserError(f"{str(out)!r} is there already: choose another --out or remove it.")


_FILES = (".safetensors", ".json", ".bin", ".pth", ".pt", ".pt2", ".onnx", ".zip")
"""Endings that only a file's name has: who asks for one expects no folder."""


def flags_of_all() -> dict[str, tuple[Flag, list[str]]]:
    """Every flag by its name, and the formats that have it."""
    found: dict[str, tuple[Flag, list[str]]] = {}
    for form in FORMATS.values():
        for flag in form.flags:
            found.setdefault(flag.name, (flag, []))[1].append(form.name)
    return found
