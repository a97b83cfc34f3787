"""Any tuner of PEFT's by its config: ``--method peft:FILE``, an adapter_config.json or YAML."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arcvit.core.errors import UserError
from arcvit.core.yaml_files import read_yaml
from arcvit.methods.spec import MethodSpec

_NAMES_CODE = ("megatron_config", "megatron_core", "auto_mapping", "tokenizer_kwargs")
"""Keys of PEFT's by which a config names modules to import: a recipe must not run code."""


@dataclass(frozen=True, kw_only=True)
class PeftOptions:
    """A tuner of PEFT's (method peft:FILE).

    Attributes:
        config: keys of its config in PEFT, as {peft_type: LORA, r: 8, target_modules: [qkv]}.
    """

    config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key in _NAMES_CODE:
            if self.config.get(key) is not None:
                raise UserError(f"peft.config has {key!r}, which names code to load: take it out.")


def read_config(name: str) -> dict[str, Any]:
    """The settings of ``peft:FILE``.

    Raises:
        UserError: the file isn't there or isn't a config of PEFT's.
    """
    file = Path(name).expanduser()
    if not file.is_file():
        raise UserError(
            f"peft:{name}: there is no such file; expected an adapter_config.json of PEFT's, or the"
            " same in YAML."
        )
    config = read_yaml(file)
    if not isinstance(config, dict) or not isinstance(config.get("peft_type"), str):
        raise UserError(f"{file} isn't a config of PEFT's: expected peft_type in it, as LORA.")
    return {"config": config}


def build(model: Any, options: PeftOptions, head: str) -> Any:
    """PEFT's tuner as the config says, with the head trained beside it."""
    import dataclasses
    import warnings

    from peft import get_peft_model
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    from arcvit.arc.config_file import check_config
    from arcvit.core.errors import nearest

    given = dict(options.config)
    kind = str(given.pop("peft_type", ""))
    known = {str.__str__(name): config for name, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
    if kind not in known:
        raise UserError(
            f"peft.config.peft_type is {kind!r}: expected one of {', '.join(sorted(known))}."
            f"{nearest(kind, known)}"
        )
    fields = {setting.name: setting for setting in dataclasses.fields(known[kind]) if setting.init}
    for key in given:
        if key not in fields:
            raise UserError(
                f"peft.config has {key!r}, which {kind} of this PEFT doesn't know: take it out."
                f"{nearest(key, fields)}"
            )
    # What belongs to the model it was saved for: PEFT sets them anew.
    for key in ("base_model_name_or_path", "revision", "inference_mode", "task_type"):
        given.pop(key, None)
    saved = given.pop("modules_to_save", None) or []
    given["modules_to_save"] = list(dict.fromkeys([head, *saved]))
    try:
        check_config(known[kind], given)
    except UserError as error:
        raise UserError(f"peft.config: {error}") from error
    try:
        config = known[kind](**given)
        if config.is_prompt_learning:
            raise UserError(
                f"peft.config: {kind} prepends tokens to a language model; expected a tuner of"
                " layers, as LORA."
            )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Unsupported layer type")
            return get_peft_model(model, config)
    except (TypeError, KeyError, AttributeError, NotImplementedError, ImportError) as error:
        raise UserError(
            f"PEFT's {kind} can't be put on this backbone as peft.config says"
            f" ({type(error).__name__}: {' '.join(str(error).split())[:200]})."
        ) from error


SPEC = MethodSpec(
    name="peft",
    summary="any tuner of PEFT's, by its config: peft:FILE",
    options=PeftOptions,
    build=build,
    lr=2e-3,
    folds=True,
    argument=read_config,
)
