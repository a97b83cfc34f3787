"""Every private name of another library that arcvit uses: which is gone after an upgrade.

Nothing promises that they stay. An overridden method that isn't called any more fails silently,
which is why those count too. The second half keeps the list complete.
"""

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import arcvit

NAMES: dict[str, tuple[str, ...]] = {
    "accelerate.state:AcceleratorState": ("_reset_state",),
    "accelerate.state:GradientState": ("_reset_state",),
    "argparse:ArgumentParser()": ("_actions",),
    "peft.tuners.tuners_utils": ("_maybe_include_all_linear_layers",),
    "peft.tuners.tuners_utils:BaseTuner": (
        "_cast_adapter_dtype",
        "_check_target_module_exists",
        "_create_and_replace",
        "_prepare_adapter_config",
        "_prepare_model",
        "_remap_adapter_state_dict_for_load",
        "_replace_module",
        "_unload_and_optionally_merge",
    ),
    "peft.tuners.tuners_utils:BaseTunerLayer": (
        "_cast_input_dtype",
        "_freeze_non_trainable_peft_weights",
        "_get_base_layer_device_and_dtype",
        "_move_adapter_to_device_of_base_layer",
    ),
    "torch": ("_C", "_dynamo", "_functorch"),
    "torch._C": ("_are_functorch_transforms_active",),
    "torch.autograd:Function": ("_backward_cls",),
    "torch:UntypedStorage()": ("_cdata",),
    "torch.nn:Module()": (
        "_backward_hooks",
        "_backward_pre_hooks",
        "_call_impl",
        "_compiled_call_impl",
        "_forward_hooks",
        "_forward_pre_hooks",
        "_non_persistent_buffers_set",
    ),
    "torch.nn.modules.batchnorm": ("_BatchNorm",),
    "torch.nn.modules.dropout": ("_DropoutNd",),
    "torch.nn.modules.module": ("_has_any_global_hook",),
    "transformers:PreTrainedModel": ("_from_config",),
}
"""Names by where they live: ``module:object``, or ``module:Class()`` for those of instances."""

OWN = ("arcvit", "builtins")
MADE_BY_PYTHON = {"_abc_impl", "_is_protocol", "_is_runtime_protocol"}
SRC = Path(arcvit.__file__).parent


EVERY = [(owner, name) for owner, private in NAMES.items() for name in private]


@pytest.mark.parametrize(("owner", "name"), EVERY)
def test_it_is_still_there(owner: str, name: str) -> None:
    module, _, path = owner.partition(":")
    found = importlib.import_module(module)
    for part in filter(None, path.removesuffix("()").split(".")):
        found = getattr(found, part)
    found = found() if path.endswith("()") else found
    assert hasattr(found, name), f"{owner} has no {name} any more"


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


@dataclass(frozen=True)
class Names:
    """Of the source: private attributes, private names that are imported, names it defines."""

    asked: set[str] = field(default_factory=set)
    imported: set[str] = field(default_factory=set)
    defined: set[str] = field(default_factory=set)

    def read(self, file: Path) -> None:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                if is_private(node.attr):
                    self.asked.add(node.attr)
                if isinstance(node.ctx, ast.Store):
                    self.defined.add(node.attr)
            elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("arcvit"):
                parts = [alias.name for alias in node.names] + (node.module or "").split(".")
                self.imported.update(filter(is_private, parts))
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self.defined.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self.defined.add(node.id)


def overridden() -> Iterator[str]:
    """Private names of a foreign base class that a class of arcvit has too."""
    for info in pkgutil.walk_packages(arcvit.__path__, "arcvit."):
        try:
            module = importlib.import_module(info.name)
        except ModuleNotFoundError as error:  # what needs an extra is looked at where it is there
            if (error.name or "").startswith("arcvit"):
                raise
            continue
        for cls in vars(module).values():
            if not isinstance(cls, type) or not cls.__module__.startswith(OWN):
                continue
            foreign = [c for c in cls.__mro__ if not c.__module__.startswith(OWN)]
            for name in filter(is_private, vars(cls)):
                if name not in MADE_BY_PYTHON and any(name in vars(base) for base in foreign):
                    yield name


def test_the_list_is_complete_and_holds_nothing_else() -> None:
    names = Names()
    for file in SRC.rglob("*.py"):
        names.read(file)
    overrides = set(overridden())
    used = names.imported | (names.asked - (names.defined - overrides))
    assert used | overrides == {name for _, name in EVERY}
