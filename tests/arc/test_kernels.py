"""The Triton kernels: right where they are interpreted, compiled for GPUs, off unless asked for."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from arcvit.arc import fused

triton = pytest.importorskip("triton")


def test_interpreted_they_give_what_pytorch_gives():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    ran = subprocess.run(
        [*command, str(Path(__file__).with_name("interpreted_kernels.py"))],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.fullmatch(r"\d+ passed in .*", ran.stdout.splitlines()[-1]), ran.stdout


def test_they_are_off_unless_asked_for(monkeypatch):
    class OnCuda:
        is_cuda, dtype = True, torch.float32

    monkeypatch.delenv("ARCVIT_TRITON", raising=False)
    assert fused._kernels(OnCuda()) is None
    assert fused._kernels(torch.ones(1)) is None
    monkeypatch.setenv("ARCVIT_TRITON", "1")
    assert fused._kernels(OnCuda()).__name__ == "arcvit.arc.kernels"
    assert fused._kernels(torch.ones(1)) is None
    OnCuda.dtype = torch.float64
    assert fused._kernels(OnCuda()) is None


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize(("rows", "work"), [("fp32", "fp32"), ("fp32", "bf16"), ("bf16", "bf16")])
@pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION")
def test_they_compile_without_spilling_registers(tmp_path, capability, rows, work):
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from arcvit.arc import kernels

    pointers = {
        **dict.fromkeys(("x", "y", "grad", "grad_x"), f"*{rows}"),
        **dict.fromkeys(("into", "out_of", "up", "bottleneck", "into_bottleneck"), f"*{work}"),
        **dict.fromkeys(("weight", "norm_bias", "mean_of", "rstd_of"), "*fp32"),
        "kept": "*i8",
        **dict.fromkeys(("rows", "D"), "i32"),
        "eps": "fp32",
    }
    dtype = torch.float32 if work == "fp32" else torch.bfloat16
    blocks = kernels._blocks(768, 50, dtype)
    warps = blocks.pop("num_warps")
    for kernel in (kernels._forward, kernels._backward):
        constants = {**blocks, "R": 50, "COLUMNS": 51}
        constants = {name: v for name, v in constants.items() if name in kernel.arg_names}
        signature = {n: "constexpr" if n in constants else pointers[n] for n in kernel.arg_names}
        compiled = triton.compile(
            ASTSource(fn=kernel, signature=signature, constexprs=constants),
            target=GPUTarget("cuda", capability, 32),
            options={"num_warps": warps},
        )
        cubin = tmp_path / f"{kernel.__name__}.cubin"
        cubin.write_bytes(compiled.asm["cubin"])
        tool = triton.knobs.nvidia.cuobjdump.path
        said = subprocess.run(
            [tool, "-res-usage", cubin], capture_output=True, text=True, check=True
        )
        stack = re.search(r"STACK:(\d+)", said.stdout + said.stderr)
        assert stack is not None
        assert int(stack[1]) == 0, f"{kernel.__name__} spills {stack[1]} bytes a thread"
