"""Where the runtime's files come from, and what is no such package."""

import tarfile
from pathlib import Path

import pytest

from arcvit.core.errors import UserError
from arcvit.export.web.runtime import write_runtime


def package(folder: Path, *, without: str = "") -> Path:
    """A package with the files that are taken, of a few bytes each."""
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_text('{"name": "onnxruntime-web", "version": "1.2.3"}')
    for name in ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"):
        if name != without:
            (folder / "dist" / name).write_text(name)
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_the_files_are_taken_under_names_that_servers_know(packed: bool, tmp_path: Path) -> None:
    source = package(tmp_path / "package")
    if packed:
        archive = tmp_path / "package.tgz"
        with tarfile.open(archive, "w:gz") as file:
            file.add(source, "package")
        source = archive
    assert write_runtime(str(source), tmp_path / "out") == "1.2.3"
    written = {file.name: file.read_text() for file in (tmp_path / "out").iterdir()}
    assert written == {
        "ort.js": "ort.wasm.bundle.min.mjs",
        "ort.wasm": "ort-wasm-simd-threaded.wasm",
    }


def test_what_is_no_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = package(tmp_path / "package", without="ort-wasm-simd-threaded.wasm")
    nameless, damaged = (package(tmp_path / name) for name in ("nameless", "damaged"))
    (nameless / "package.json").unlink()
    (damaged / "package.json").write_text("{")
    torn = tmp_path / "torn.tgz"
    torn.write_bytes(b"torn")
    monkeypatch.setenv("PATH", "")
    for given, sentence in {
        source: "has no dist/ort-wasm-simd-threaded.wasm: expected onnxruntime-web",
        nameless: "nameless' has no package.json: expected onnxruntime-web",
        damaged: "package.json is damaged: expected JSON",
        tmp_path / "none": "'.*none' isn't there: expected onnxruntime-web",
        torn: "torn.tgz' can't be unpacked .*: expected the file that npm pack onnxruntime-web@",
        None: "npm isn't here: run npm pack onnxruntime-web@.* give the file by --runtime",
    }.items():
        with pytest.raises(UserError, match=sentence):
            write_runtime(given, tmp_path / "out")
        assert not (tmp_path / "out").exists()
