"""What a backbone's name means: the bundled one, a timm name, a folder, or a weights file."""

import json
import re
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import timm

from arcvit.backbones.npz import describe_npz
from arcvit.core.errors import UserError, nearest

DEMO = "demo"
_FILE_ENDINGS = (".safetensors", ".pth", ".pt", ".bin", ".npz")


@dataclass(frozen=True, kw_only=True)
class Source:
    """How to build a backbone.

    Attributes:
        architecture: timm name, with the tag of its weights where they come from the hub.
        arguments: what its constructor takes beyond timm's defaults.
        pretrained_cfg: timm's record of its input and preprocessing; None: that of the timm name.
        file: local weights; None: from the hub.
    """

    architecture: str
    arguments: dict[str, Any] = field(default_factory=dict)
    pretrained_cfg: dict[str, Any] | None = None
    file: Path | None = None


def resolve_source(name: str) -> Source:
    """What a name stands for.

    Args:
        name: ``demo``; a timm name with or without a tag; a folder in timm's format
            (``config.json`` beside ``model.safetensors``); or a weights file whose config lies
            beside it (``NAME.json`` or ``config.json``) or whose name begins with a timm name.

    Raises:
        UserError: nothing of that name is there or known.
    """
    if name == DEMO:
        folder = Path(str(resources.files("arcvit") / "assets" / "demo_backbone"))
        return _source_of_config(folder / "config.json", folder / "model.safetensors")
    if not name:
        raise UserError("backbone is empty: give a timm name, a file, a folder or demo.")
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UserError(
                f"folder {name!r} is not a backbone: expected timm's config.json beside"
                " model.safetensors in it."
            )
        return _source_of_config(path / "config.json", path / "model.safetensors")
    if path.is_file():
        return _source_of_file(path)
    if path.suffix in _FILE_ENDINGS or len(path.parts) > 1:
        raise UserError(
            f"backbone file {name!r} isn't there: give a timm name, a file or a folder."
        )
    _check_timm_name(name)
    return Source(architecture=name)


def _source_of_file(path: Path) -> Source:
    for config in (path.with_suffix(".json"), path.with_name("config.json")):
        if config.is_file():
            return _source_of_config(config, path)
    if path.suffix == ".npz":
        architecture, arguments = describe_npz(path)
        return Source(architecture=architecture, arguments=arguments, file=path)
    for architecture in _leading_names(path.stem):
        if architecture in timm.list_pretrained() or timm.is_model(architecture):
            return Source(architecture=architecture, file=path)
    raise UserError(
        f"can't tell the architecture of {path.name!r}: no config.json lies beside it and its name"
        f" doesn't begin with a timm name; give --backbone NAME --weights {path.name}."
    )


def _leading_names(stem: str) -> list[str]:
    """``a_b.c_d`` as a_b.c_d, a_b.c, a_b, a: a file may say more than its architecture."""
    ends = [match.start() for match in re.finditer(r"[._-]", stem)]
    return [stem, *(stem[:end] for end in reversed(ends))]


def _source_of_config(config: Path, file: Path) -> Source:
    """Read a config as timm writes it for the hub (``save_config_for_hf``)."""
    try:
        record = json.loads(config.read_text(encoding="utf-8"))
        architecture = record["architecture"]
        arguments = dict(record.get("model_args", {}))
        pretrained_cfg = dict(record.get("pretrained_cfg", {}))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{config.name} beside {file.name} is not a timm config: expected JSON with"
            " 'architecture'."
        ) from error
    if not timm.is_model(architecture):
        raise UserError(
            f"{config} names the architecture {architecture!r}, which timm doesn't know: expected a"
            f" timm model.{nearest(str(architecture), timm.list_models())}"
        )
    return Source(
        architecture=architecture,
        arguments=arguments,
        pretrained_cfg={"architecture": architecture, **pretrained_cfg},
        file=file,
    )


def _check_timm_name(name: str) -> None:
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise UserError(
            f"backbone {name!r} is not known: expected {DEMO!r}, a timm model or a file."
            + nearest(architecture, [*timm.list_models(), DEMO])
        )
    tags = [t.partition(".")[2] for t in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise UserError(
            f"{architecture} has no weights tagged {tag!r}: expected one of"
            f" {', '.join(tags) or 'none'}.{nearest(tag, tags)}"
        )
