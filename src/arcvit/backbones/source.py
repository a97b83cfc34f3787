"""What a backbone's name means: the bundled one, timm's, the hub's, a folder, a weights file."""

import json
import re
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import timm

from arcvit.backbones.hub import fetch_config
from arcvit.backbones.npz import describe_npz
from arcvit.backbones.transformers_model import TransformersSource, is_transformers_config
from arcvit.core.errors import UserError, nearest
from arcvit.core.files import read_json
from arcvit.core.settings import shown

DEMO = "demo"
HF_HUB = "hf-hub:"
TRANSFORMERS = "transformers:"
_FILE_ENDINGS = (".safetensors", ".pth", ".pt", ".bin", ".npz")


@dataclass(frozen=True, kw_only=True)
class Source:
    """How to build a backbone.

    Attributes:
        architecture: timm name, with the tag of its weights where they come from the hub.
        arguments: what its constructor takes beyond timm's defaults.
        pretrained_cfg: timm's record of its input and preprocessing; None: that of the timm name.
        file: local weights; None: from the hub.
        commit: of the repository on the hub, where the name is that of one.
    """

    architecture: str
    arguments: dict[str, Any] = field(default_factory=dict)
    pretrained_cfg: dict[str, Any] | None = None
    file: Path | None = None
    commit: str | None = None


def resolve_source(name: str, *, commit: str | None = None) -> Source | TransformersSource:
    """What a name stands for.

    Args:
        name: ``demo``; a timm name with or without a tag; ``hf-hub:USER/NAME`` for timm's models on
            the hub and ``transformers:USER/NAME`` for those of transformers, both with ``@`` and a
            branch, tag or commit where one is wanted; a folder in the format of either
            (``config.json`` beside ``model.safetensors``); or a weights file whose config lies
            beside it (``NAME.json`` or ``config.json``) or whose name begins with a timm name.
        commit: of a model on the hub, whatever its name says.

    Raises:
        UserError: nothing of that name is there or known.
    """
    for prefix in (HF_HUB, TRANSFORMERS):
        if name.startswith(prefix):
            return _source_on_hub(name, prefix, commit)
    if name == DEMO:
        folder = Path(str(resources.files("arcvit") / "assets" / "demo_backbone"))
        return _source_of_config(folder / "config.json", folder / "model.safetensors")
    if not name:
        raise UserError("backbone is empty: give a timm name, a file, a folder or demo.")
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise UserError(
                f"folder {name!r} is not a backbone: expected the config.json of timm or"
                " transformers beside model.safetensors in it."
            )
        if _is_of_transformers(path / "config.json"):
            return TransformersSource(name=name, place=str(path))
        return _source_of_config(path / "config.json", path / "model.safetensors")
    if path.is_file():
        return _source_of_file(path)
    if path.suffix in _FILE_ENDINGS or len(path.parts) > 1:
        on_hub = len(path.parts) == 2 and path.suffix not in _FILE_ENDINGS and ":" not in name
        hub = f"; on the hub it would be {HF_HUB}{name} or {TRANSFORMERS}{name}" if on_hub else ""
        raise UserError(
            f"backbone file {name!r} isn't there: give a timm name, a file or a folder{hub}."
        )
    _check_timm_name(name)
    return Source(architecture=name)


def _source_on_hub(name: str, prefix: str, commit: str | None) -> Source | TransformersSource:
    """A model of timm or transformers on the hub; for transformers also a folder."""
    place = name.removeprefix(prefix)
    if prefix == TRANSFORMERS and Path(place).expanduser().is_dir():
        folder = Path(place).expanduser()
        config = folder / "config.json"
        if not config.is_file():
            raise UserError(f"folder {place!r} is no model of transformers: it has no config.json.")
        source: Source | TransformersSource = TransformersSource(name=name, place=str(folder))
    else:
        repo, _, revision = place.partition("@")
        # A stranger's adapter may name it, and the client makes paths of it.
        if commit is not None and not re.fullmatch("[0-9a-f]{40}", commit):
            raise UserError(f"{shown(commit)} is no commit of {repo!r}: expected 40 hex digits.")
        config = fetch_config(repo, commit or revision or None)
        # Weights and processor are then of the same commit, and are found again without a network.
        commit = config.parent.name
        source = (
            TransformersSource(name=name, place=repo, commit=commit)
            if prefix == TRANSFORMERS
            else Source(architecture=f"{HF_HUB}{repo}@{commit}", commit=commit)
        )
    record = read_json(config)
    whose = HF_HUB if "architecture" in record else None
    if is_transformers_config(record):
        whose = TRANSFORMERS
    if whose != prefix:
        hint = f"; it is written {whose}{place}" if whose else ""
        wanted = "transformers" if prefix == TRANSFORMERS else "timm"
        raise UserError(f"{place!r} is no model of {wanted}{hint}.")
    return source


def _is_of_transformers(config: Path) -> bool:
    """Whether a folder's config is; what isn't a config at all is timm's to complain of."""
    try:
        return is_transformers_config(read_json(config))
    except UserError:
        return False


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
