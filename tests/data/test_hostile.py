"""Small files that ask for gigabytes, minutes or other programs: each ends in a sentence.

Each is read in a process of its own, forked after the imports, within a second of computing and 300
MB beyond them.
"""

import json
import os
import resource
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, StringIO
from pathlib import Path
from struct import pack

import pytest
from PIL import Image

from arcvit.cli import data_check, inspect, train
from arcvit.cli.main import main
from arcvit.data.check import report
from arcvit.data.pixels import rgb
from arcvit.recipe import parser

__all__ = ["data_check", "inspect", "parser", "report", "rgb", "train"]  # imported before the fork

SECONDS, MEGABYTES, PATIENCE = 1.0, 300, 60
Make = Callable[[Path], list[object]]


def png(width: int, height: int, *chunks: bytes, rows: int | None = None) -> bytes:
    """A black grey image; of fewer rows than it says."""
    squeeze = zlib.compressobj(9)
    row = bytes(width + 1)
    data = b"".join(squeeze.compress(row) for _ in range(rows if rows is not None else height))
    header = pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    whole = (
        chunk(b"IHDR", header),
        *chunks,
        chunk(b"IDAT", data + squeeze.flush()),
        chunk(b"IEND"),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(whole)


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))


def frames(form: str) -> bytes:
    stream = BytesIO()
    images = [Image.new("L", (4, 4), value % 250) for value in range(1500)]
    images[0].save(stream, form, save_all=True, append_images=images[1:])
    return stream.getvalue()


def photos(folder: Path) -> Path:
    for name in ("a", "b"):
        (folder / "train" / name).mkdir(parents=True)
        for index in range(3):
            Image.effect_noise((32, 32), 80).save(folder / "train" / name / f"{index}.png")
    return folder


def image(content: Callable[[], bytes], name: str = "x.png") -> Make:
    def make(folder: Path) -> list[object]:
        (photos(folder) / "train/a" / name).write_bytes(content())
        return ["data", "check", folder]

    return make


def link(place: str, target: str) -> Make:
    def make(folder: Path) -> list[object]:
        (photos(folder) / place).symlink_to(target)
        return ["data", "check", folder]

    return make


def pipe(*command: object, name: str) -> Make:
    def make(folder: Path) -> list[object]:
        photos(folder)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(folder / name)
        return [*command, folder / name if name.startswith("x.") else folder]

    return make


def text(content: Callable[[], str], name: str, *command: object, whole: bool = False) -> Make:
    def make(folder: Path) -> list[object]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content())
        return [*command, folder if whole else folder / name]

    return make


def names_without_end(folder: Path) -> list[object]:
    (folder / "train800.txt").write_text("a.png 0\nb.png 1\n")
    (folder / "classes.txt").write_text("".join(f"{i}\n" for i in range(10**6)))
    return ["data", "check", folder]


def bomb(open_: str, close: str) -> str:
    lines = [f"a: &a {open_}x{close}"]
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} {open_}{', '.join([f'*{before}'] * 9)}{close}")
    return "\n".join(lines)


CHECK, TRAIN = ("data", "check"), ("train", "--config")
FEW: dict[str, tuple[Make, str]] = {
    "a pipe among images": (
        pipe(*CHECK, name="train/a/x.png"),
        "x.png (a pipe or a device",
    ),
    "a link to the root": (link("train/a/up", "../.."), "a folder that it is in"),
    "a YAML alias bomb": (text(lambda: bomb("[", "]"), "x.yaml", *TRAIN), "references (*) stand"),
    "deep YAML": (text(lambda: "a: " + "[" * 100_000, "x.yaml", *TRAIN), "50 levels deep"),
    "a long PNG": (
        image(lambda: png(30_000, 30_000, rows=1)),
        "30,000 x 30,000 pixels are more than --data.max_pixels",
    ),
    "EPS by another name": (
        image(lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "x.jpg"),
        "not an image of a format that is read",
    ),
}
MANY: dict[str, tuple[Make, str]] = {
    **FEW,
    "a wide PNG": (image(lambda: png(100_000, 1)), "usable"),
    "a high PNG": (image(lambda: png(2, 1_000_000)), "usable"),
    "a PNG of texts": (
        image(
            lambda: png(8, 8, *[chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(10**6)))] * 70),
        ),
        "Too much memory used in text chunks",
    ),
    "a PNG with a large profile": (
        image(lambda: png(8, 8, chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(10**8))))),
        "Decompressed data too large",
    ),
    "a TIFF of many pages": (image(lambda: frames("TIFF"), "x.tif"), "usable"),
    "a GIF of many frames": (image(lambda: frames("GIF"), "x.gif"), "usable"),
    "a device among images": (link("train/a/x.png", "/dev/zero"), "a pipe or a device"),
    "a class that links to /": (link("train/c", "/"), "a folder that it is in"),
    "a link to itself": (link("train/a/loop", "loop"), "Too many levels of symbolic links"),
    "a pipe as a table": (pipe(*CHECK, name="x.csv"), "is in an unknown layout"),
    "a pipe as a recipe": (pipe(*TRAIN, name="x.yaml"), "expected a YAML file"),
    "a pipe as a list": (pipe(*CHECK, name="train800.txt"), "usable"),
    "a pipe as an adapter": (pipe("inspect", name="task.json"), "neither a run nor an adapter"),
    "YAML that merges a bomb": (
        text(lambda: bomb("{<<: [", "]}").replace("[x]", "{x: 1}"), "x.yaml", *TRAIN),
        "references (*) stand",
    ),
    "YAML in itself": (text(lambda: "method: &a [*a]", "x.yaml", *TRAIN), "leads back"),
    "a number of a million digits": (
        text(lambda: "seed: " + "9" * 10**6, "x.yaml", *TRAIN),
        "1,000,000 digits",
    ),
    "a long number in base 60": (
        text(lambda: "seed: 1" + ":59" * 10**5, "x.yaml", *TRAIN),
        "digits",
    ),
    "a date that isn't": (text(lambda: "seed: 2001-99-99", "x.yaml", *TRAIN), "month"),
    "a huge recipe": (text(lambda: "# \n" * 2**21, "x.yaml", *TRAIN), "bytes"),
    "a deep list": (
        text(lambda: "[" * 10**6, "train.json", *CHECK, whole=True),
        "can't be read as JSON",
    ),
    "a deep adapter": (
        text(lambda: '{"a":' * 10**5, "adapter_config.json", "inspect", whole=True),
        "is damaged",
    ),
    "a table of a million classes": (
        text(
            lambda: "path,label\n" + "".join(f"{i}.png,c{i}\n" for i in range(10**6)),
            "x.csv",
            *CHECK,
        ),
        "more than 100,000 classes",
    ),
    "cells of a million labels": (
        text(
            lambda: (
                "path,label\n"
                + "".join(
                    f"{i}.png,{'|'.join(map(str, range(i, i + 10**4)))}\n" for i in range(100)
                )
                + "".join(
                    f"x{i}.png,{'|'.join(f'{i}.{n}' for n in range(9999))}\n" for i in range(99)
                )
            ),
            "x.csv",
            *CHECK,
            "--task=multilabel",
        ),
        "more than 100,000 classes",
    ),
    "thousands of columns of 0 and 1": (
        text(
            lambda: (
                ",".join(["path", *map(str, range(2000))])
                + "\n"
                + "".join(f"{i}.png" + ",0" * 2000 + "\n" for i in range(40))
            ),
            "x.csv",
            *CHECK,
            "--task=multilabel",
        ),
        "the most frequent is none (26 images)",
    ),
    "a table of a million columns": (
        text(lambda: ",".join(f"c{i}" for i in range(10**6)), "x.csv", *CHECK),
        "has 1,000,000 columns",
    ),
    "a million names": (
        names_without_end,
        "more than 100,000 classes",
    ),
    "a label of a billion": (
        text(lambda: "a.png 0\nb.png 999999999\n", "train800.txt", *CHECK, whole=True),
        "class indices that count from 0",
    ),
}


def outcomes(commands: dict[str, list[str]]) -> dict[str, dict[str, object]]:
    """What each command ends in, from one process that imports once."""
    answer = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    found: dict[str, dict[str, object]] = json.loads(answer.stdout)
    return found


def complaints(cases: dict[str, tuple[Make, str]], folder: Path) -> list[str]:
    """The cases that end otherwise than they should."""
    commands = {}
    for number, (name, (make, _)) in enumerate(cases.items()):
        place = folder / str(number)
        place.mkdir()
        commands[name] = list(map(str, make(place)))
    wrong = []
    for name, found in outcomes(commands).items():
        right = cases[name][1] in " ".join(str(found["said"]).split())
        costs = found["seconds"] > SECONDS or found["megabytes"] > MEGABYTES  # type: ignore[operator]
        if not right or costs or found["code"] not in (0, 1, 2):
            wrong.append(f"{name}: {found}")
    return wrong


@pytest.mark.slow
def test_a_few(tmp_path: Path) -> None:
    assert complaints(FEW, tmp_path) == []


@pytest.mark.torture
def test_all(tmp_path: Path) -> None:
    assert complaints(MANY, tmp_path) == []


def _peak() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def _outcome(command: list[str]) -> dict[str, object]:
    """In a child; one that hangs is killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        Path("/proc/self/clear_refs").write_text("5")  # begin again with the peak
        before, said = _peak(), StringIO()
        code: object
        try:
            with redirect_stdout(said), redirect_stderr(said):
                code = main(command)
        except BaseException as error:
            code = repr(error)[:200]
        used = resource.getrusage(resource.RUSAGE_SELF)
        record = {
            "code": code,
            "said": said.getvalue()[-3000:],
            "seconds": round(used.ru_utime + used.ru_stime, 2),
            "megabytes": round(_peak() - before),
        }
        os.write(writer, json.dumps(record).encode())
        os._exit(0)
    os.close(writer)
    patience = threading.Timer(PATIENCE, os.kill, (child, 9))
    patience.start()
    with os.fdopen(reader, "rb") as stream:
        said_in_json = stream.read()
    os.waitpid(child, 0)
    patience.cancel()
    hangs = {"code": "none", "said": "", "seconds": PATIENCE, "megabytes": 0}
    return json.loads(said_in_json) if said_in_json else hangs


if __name__ == "__main__":
    given = json.load(sys.stdin)
    print(json.dumps({name: _outcome(command) for name, command in given.items()}))
