"""The folder as a visitor's browser has it: what it says, and that it tells nobody."""

import base64
import dataclasses
import functools
import http.server
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

import arcvit
from arcvit.core.task import read_task
from arcvit.data.pixels.augment import ToInput
from arcvit.data.pixels.preset import Preprocessing
from arcvit.recipe.given import read

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow

EXIF_ORIENTATION = 0x0112
TASKS = ["fruit", "tags"]


@pytest.fixture(scope="module")
def adapters(
    make_adapter: Callable[..., Path],
    save_tiny: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Path]:
    """A task that is calibrated, and one of several labels whose photos stay as they are stored."""
    root = tmp_path_factory.mktemp("adapters")
    backbone = save_tiny(root / "backbone")
    # Weights that half precision holds: all that differs then is the browser.
    weights = load_file(backbone / "model.safetensors")
    save_file(
        {name: w.half().float() for name, w in weights.items()}, backbone / "model.safetensors"
    )
    fruit = make_adapter(root / "fruit", labels=4, known=0.0, backbone=backbone)
    tags = make_adapter(
        root / "tags", labels=3, seed=1, r=3, multilabel=True, backbone=backbone, adapter_bias=False
    )
    task = read_task(tags)
    prep = task.preprocessing | {
        "orientation": "stored",
        "resize": "shortest",
        "resize_size": 40,
        "interpolation": "bilinear",
    }
    dataclasses.replace(task, preprocessing=prep, thresholds=[0.2, 0.5, 0.8]).write(tags)
    return [fruit, tags]


@pytest.fixture(scope="module")
def site(adapters: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the folder, handed out by the plainest of servers."""
    runtime = os.environ.get("ARCVIT_ORT_WEB", "")
    if not Path(runtime).is_file():
        pytest.skip("ARCVIT_ORT_WEB names no onnxruntime-web package: make test-extras gets it")
    out = tmp_path_factory.mktemp("web") / "site"
    arcvit.export_adapters(adapters, out, format="web", runtime=runtime)
    handler = functools.partial(Silent, directory=str(out))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


class Silent(http.server.SimpleHTTPRequestHandler):
    """As ``python -m http.server``, without its lines."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Photos as phones and cameras write them, and pictures of other kinds."""
    folder = tmp_path_factory.mktemp("photos")
    draws = np.random.default_rng(0)
    coarse = Image.fromarray(draws.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    photo = coarse.resize((640, 427), Image.Resampling.BICUBIC)
    for turn in (1, 3, 6):
        exif = Image.Exif()
        exif[EXIF_ORIENTATION] = turn
        photo.save(folder / f"turned-{turn}.jpg", exif=exif, quality=88)
    # More than is read at once, in rows and in columns.
    photo.resize((2600, 1701)).save(folder / "large.jpg", progressive=True)
    photo.resize((1100, 4001)).save(folder / "tall.jpg", quality=60)
    photo.convert("L").save(folder / "grey.png")
    photo.quantize(32).save(folder / "palette.png")
    photo.save(folder / "photo.webp", quality=80)
    return sorted(folder.iterdir())


@pytest.fixture
def tab(browser: Any, site: str, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page, its model loaded; other hosts are out of reach, and it must not ask for one."""
    context = browser.new_context(
        viewport={"width": getattr(request, "param", 1280), "height": 900}
    )
    complaints: list[str] = []
    asked: list[str] = []
    context.route(
        "**", lambda route: route.continue_() if own(route.request.url) else route.abort()
    )
    tab = context.new_page()
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda made: asked.append(made.url))

    def own(url: str) -> bool:
        return url.removeprefix("blob:").startswith(f"{site}/")

    tab.goto(f"{site}/")
    tab.locator("#state", has_text="Nothing leaves this device").wait_for()
    yield tab
    context.close()
    assert complaints == []
    assert [url for url in asked if not own(url)] == []


def test_it_says_what_predict_says(tab: Any, photos: list[Path], adapters: list[Path]) -> None:
    for folder in adapters:
        classifier = arcvit.load(folder, device="cpu")
        for photo, expected in zip(photos, classifier.predict(photos), strict=True):
            answer = ask(tab, photo, folder.name)
            top = {one["label"]: one["probability"] for one in answer.pop("top")}
            record = expected.record
            assert top == pytest.approx(
                {one["label"]: one["probability"] for one in record["top"]}, abs=2e-5
            ), photo.name
            assert answer.pop("probability") == pytest.approx(record["probability"], abs=2e-5)
            assert answer == {key: record[key] for key in answer}, photo.name


RESIZES = (
    ((64, 43), (11, 7), "bicubic"),
    ((7, 9), (64, 64), "bicubic"),
    ((100, 3), (5, 70), "bilinear"),
    ((30, 20), (64, 6), "lanczos"),  # down first, as it gets much lower
    ((31, 27), (64, 5), "nearest"),
)


def test_resizing_is_pillows(tab: Any) -> None:
    for size, to, how in RESIZES:
        pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
        resized = tab.evaluate(
            """async ([pixels, [width, height], to, how]) => {
              const {resize} = await import("./resize.js");
              const read = (left, top, columns, rows) => {
                if (left || top || columns !== width || rows !== height) throw new Error("a part");
                return Uint8Array.from(pixels);
              };
              return [...resize(read, [width, height], to, how)];
            }""",
            [pixels.ravel().tolist(), size, to, how],
        )
        image = Image.fromarray(pixels[..., :3].copy())
        expected = np.asarray(image.resize(to, getattr(Image.Resampling, how.upper())))
        found = np.array(resized).reshape(to[1], to[0], 4)[..., :3]
        assert (found == expected).all(), (size, to, how)


CROPS = (
    {"resize": "squash", "resize_size": 32},
    {"resize": "squash-crop", "resize_size": 36},
    {"resize": "shortest", "resize_size": 25, "crop_start": "floored"},  # black around it
    {"resize": "shortest", "resize_size": 41, "size": [32, 25]},
)


def test_photos_are_prepared_alike(tab: Any, photos: list[Path]) -> None:
    for crop in CROPS:
        given = {"size": [32, 32], "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4], **crop}
        prep = Preprocessing.from_dict(
            {"interpolation": "bicubic", "orientation": "upright", **given}
        )
        pixels, _, _ = read(photos, prep)
        expected = ToInput.of(prep).eval()(pixels).numpy()
        for photo, row in zip(photos, expected, strict=True):
            found = tab.evaluate(
                """async ([file, prep]) => {
                  const {decode, toInput} = await import("./pixels.js");
                  const bytes = Uint8Array.from(atob(file), letter => letter.charCodeAt(0));
                  return [...toInput(await decode(new Blob([bytes]), prep), prep)];
                }""",
                [base64.b64encode(photo.read_bytes()).decode(), prep.to_dict()],
            )
            assert np.abs(np.array(found) - row.ravel()).max() < 1e-5, (photo.name, crop)


@pytest.mark.parametrize("tab", [1280, 400], indirect=True)
def test_photos_are_answered(tab: Any, photos: list[Path]) -> None:
    assert tab.locator("#take").get_attribute("capture") == "environment"
    damaged = "**/adapters/tags.json"
    tab.context.route(damaged, lambda route: route.fulfill(body="torn"))
    tab.set_input_files("#choose", photos[:1])
    tab.locator("section .warning").wait_for()
    assert tab.locator(".best").count() == 1  # the other task answers
    tab.context.unroute(damaged)
    tab.set_input_files("#choose", photos[:2])
    tab.locator(".best").nth(4).wait_for()
    last = tab.locator(".answer").first
    assert last.locator("figcaption").inner_text() == photos[1].name
    assert last.locator("h3").all_inner_texts() == TASKS
    assert last.locator("dd").nth(1).inner_text().endswith("%")
    notes = {"name": "<b>notes</b>.txt", "mimeType": "text/plain", "buffer": b"no photo"}
    tab.set_input_files("#choose", [notes])
    tab.locator(".all > .warning").wait_for()
    assert "<b>notes</b>.txt can't be read" in tab.locator(".all > .warning").inner_text()
    tab.locator("summary").click()
    assert tab.locator("#adapters tr").count() == 2
    assert tab.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0


def test_neither_the_page_nor_its_worker_may_ask_others(browser: Any, site: str) -> None:
    tab = browser.new_page()
    tab.goto(f"{site}/")
    tab.locator("#state", has_text="Nothing leaves this device").wait_for()
    # The same machine, another port: reachable, but not the page's own.
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    other = f"fetch('http://127.0.0.1:{listening.server_port}/', {{mode: 'no-cors'}})"
    script = f"{other}.then(() => 'answered', () => 'refused')"
    (worker,) = tab.workers
    assert [place.evaluate(script) for place in (tab, worker)] == ["refused", "refused"]
    tab.close()
    listening.shutdown()
    listening.server_close()


def ask(tab: Any, photo: Path, task: str) -> dict[str, Any]:
    """What the page's model says of a photo."""
    return tab.evaluate(
        """async ([file, name, task]) => {
          const bytes = Uint8Array.from(atob(file), letter => letter.charCodeAt(0));
          const photo = new File([bytes], name);
          return (await predict(photo, [task]))[0].predictions[0];
        }""",
        [base64.b64encode(photo.read_bytes()).decode(), photo.name, task],
    )
