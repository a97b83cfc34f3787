"""Register ARC with PEFT when PEFT is imported, without importing it first.

``import arcvit`` stays quick, and ``PeftModel.from_pretrained`` knows ARC adapters after it, in
whichever order the two are imported.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType


class _RegisterAfterPeft(importlib.abc.MetaPathFinder):
    """Finds ``peft`` as everyone else does, and registers ARC once it has been executed."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """The usual spec of ``peft``, with a loader that registers afterwards."""
        del path, target
        if fullname != "peft":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("peft")
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, usual: importlib.abc.Loader) -> None:
        self._usual = usual

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._usual.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._usual.exec_module(module)
        if module.__spec__ is not None:
            module.__spec__.loader = self._usual
        register_now()


def register_now() -> None:
    """Register ARC and the baselines with a PEFT that is loaded."""
    from arcvit.arc.register import register
    from arcvit.baselines.register import register_baselines

    register()
    register_baselines()


def install() -> None:
    """Register now if PEFT is loaded, else as soon as it is."""
    if "peft" in sys.modules:
        register_now()
    elif not any(isinstance(finder, _RegisterAfterPeft) for finder in sys.meta_path):
        sys.meta_path.insert(0, _RegisterAfterPeft())
