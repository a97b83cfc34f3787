"""Any name imported from ``arcvit`` makes ARC known to PEFT."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["ArcConfig", "ArcLayer", "ArcModel"])
@pytest.mark.parametrize("first", ["", "import peft\n"])
def test_a_public_name_registers_arc(first: str, name: str) -> None:
    code = f"{first}from arcvit import {name}\nfrom peft import get_peft_config as g"
    code += "\nassert g({'peft_type': 'ARC', 'r': 3}).variant == 'arc'"
    subprocess.run([sys.executable, "-c", code], check=True)
