"""Optional dependencies: what each extra installs, and one sentence where it isn't there."""

import importlib.util

from arcvit.core.errors import UserError

EXTRAS = {
    "bench": ("matplotlib", "jinja2"),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
    "transformers": ("transformers",),
    "quantized": ("torchao",),
    "datasets": ("datasets",),
    "webdataset": ("webdataset",),
    "matlab": ("scipy",),
    "heic": ("pillow_heif",),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "cluster": ("ray", "fastapi"),
    "slurm": ("submitit",),
    "serve": ("starlette", "uvicorn", "python_multipart", "prometheus_client"),
}
"""The modules behind each extra of pyproject.toml."""


def require(extra: str, what: str) -> None:
    """Refuse to go on without an extra.

    Args:
        extra: its name, as in ``pip install 'arcvit[NAME]'``.
        what: what needs it, the subject of the sentence: a command, a file or a setting.

    Raises:
        UserError: names the missing packages and the command that installs them.
    """
    missing = [name for name in EXTRAS[extra] if importlib.util.find_spec(name) is None]
    if missing:
        *others, last = (name.replace("_", "-") for name in missing)  # as packages are called
        names = f"{', '.join(others)} and {last}" if others else last
        verb = "isn't" if len(missing) == 1 else "aren't"
        raise UserError(
            f"{what} needs {names}, which {verb} installed: run pip install 'arcvit[{extra}]'."
        )
