"""The files of ONNX Runtime for browsers, from npm: what a page needs to run a graph."""

import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from arcvit.core.errors import UserError
from arcvit.core.files import read_json

PACKAGE = "onnxruntime-web"
VERSION = "1.30.0"
_GET = f"npm pack {PACKAGE}@{VERSION}"
_SECONDS = 600
_FILES = {
    "ort.wasm.bundle.min.mjs": "ort.js",  # some servers don't know that .mjs is a script
    "ort-wasm-simd-threaded.wasm": "ort.wasm",
}
"""The smallest build there is: the CPU's kernels alone; and what its files are called here."""
_RECORD = "package.json"


def write_runtime(source: str | Path | None, target: Path) -> str:
    """Write the runtime's files into a folder.

    Args:
        source: the package as npm has it, unpacked or as ``.tgz``; None: npm gets it.
        target: a folder that isn't there yet.

    Returns:
        The package's version.

    Raises:
        UserError: it isn't that package, it lacks a file, or npm isn't there or can't get it.
    """
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(source).expanduser() if source is not None else _packed(Path(scratch))
        if not place.exists():
            raise UserError(
                f"{str(source)!r} isn't there: expected {PACKAGE} as npm has it; {_GET} gets it."
            )
        if place.is_file():
            place = _unpacked(place, Path(scratch))
        for name in (_RECORD, *(f"dist/{name}" for name in _FILES)):
            if not (place / name).is_file():
                raise UserError(
                    f"{str(source)!r} has no {name}: expected {PACKAGE} {VERSION} as npm has it,"
                    f" unpacked or not; {_GET} gets it."
                )
        version = str(read_json(place / _RECORD).get("version", "of unknown version"))
        target.mkdir(parents=True)
        for theirs, ours in _FILES.items():
            shutil.copyfile(place / "dist" / theirs, target / ours)
        return version


def _packed(folder: Path) -> Path:
    """The package as npm gets it, a ``.tgz``."""
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(
            f"the format web needs {PACKAGE}, which npm gets and npm isn't here: run {_GET} where"
            " it is, and give the file by --runtime."
        )
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent"]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        problem = " ".join(done.stderr.split())[:200] if done.returncode else ""
    except subprocess.TimeoutExpired:
        problem = f"no answer within {_SECONDS} seconds"
    found = sorted(folder.glob("*.tgz"))
    if problem or not found:
        raise UserError(
            f"npm can't get {PACKAGE} ({problem or 'it wrote no file'}): run {_GET} elsewhere, and"
            " give the file by --runtime."
        )
    return found[0]


def _unpacked(archive: Path, folder: Path) -> Path:
    """The files that are needed of a ``.tgz``, in a folder."""
    wanted = {f"package/{_RECORD}", *(f"package/dist/{name}" for name in _FILES)}
    try:
        with tarfile.open(archive, "r:gz") as packed:
            for member in packed:
                if member.name in wanted:
                    packed.extract(member, folder, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UserError(
            f"{str(archive)!r} can't be unpacked ({error}): expected the file that {_GET} writes."
        ) from error
    return folder / "package"
