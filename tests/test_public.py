"""The public surface: what ``arcvit`` exports, and what importing it costs."""

import subprocess
import sys

import arcvit


def test_exported_names_are_these() -> None:
    names = ["ArcConfig", "ArcLayer", "ArcModel", "Classifier", "Prediction", "__version__"]
    names += [
        "compare",
        "export_adapters",
        "find_suspects",
        "initialize_from_activations",
        "load",
        "load_adapter",
        "next_photos",
        "save_adapter",
    ]
    names += ["train"]
    assert sorted(arcvit.__all__) == names
    assert dir(arcvit) == sorted(arcvit.__all__)
    for name in arcvit.__all__:
        assert getattr(arcvit, name) is not None


def test_importing_the_package_imports_neither_torch_nor_peft() -> None:
    code = "import arcvit, sys; assert not {'torch', 'peft', 'timm'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
