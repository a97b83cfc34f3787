"""Any name imported from ``arcvit`` makes ARC known to PEFT."""

import subprocess
import sys

CODE = """
import peft
assert "ARC" not in peft.mapping.PEFT_TYPE_TO_CONFIG_MAPPING
from arcvit import {name}
assert peft.get_peft_config({{"peft_type": "ARC", "r": 3}}).variant == "arc"
"""


def test_a_public_name_registers_arc() -> None:
    subprocess.run([sys.executable, "-c", CODE.format(name="ArcLayer")], check=True)
