"""The folder of ``arcvit export --format web`` in a browser: bytes loaded, seconds, differences.

    python benchmarks/web_page.py runs/a runs/b --photos FOLDER [--int8] [--runtime PACKAGE]

Needs the extra onnx, Playwright and Chromium; every address but the folder's own is out of reach.
Each photo is asked for every task, and its probabilities are compared with those of
``Classifier.predict``. Seconds count from opening the page with an empty cache, on this machine:
the network takes its own beside them. Writes JSON with --out.
"""

import argparse
import base64
import functools
import http.server
import json
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

import arcvit

_ASK = """async ([file, name, tasks]) => {
  const bytes = Uint8Array.from(atob(file), letter => letter.charCodeAt(0));
  const begun = performance.now();
  const answers = await predict(new File([bytes], name), tasks);
  return {answers, seconds: (performance.now() - begun) / 1e3};
}"""


def main() -> None:
    """Export, open, ask, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--most", type=int, default=40, help="photos that are asked for")
    parser.add_argument("--int8", action="store_true")
    parser.add_argument("--runtime")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    photos = sorted(file for file in options.photos.rglob("*") if file.is_file())
    photos = photos[:: max(1, len(photos) // options.most)][: options.most]
    flags = {"runtime": options.runtime} | ({"int8": True} if options.int8 else {})
    with tempfile.TemporaryDirectory() as scratch:
        exported = arcvit.export_adapters(
            options.runs, Path(scratch) / "web", format="web", **flags
        )
        with served(exported.path) as (address, sent), a_browser() as browser:
            found = measured(browser, address, sent, photos, [run.name for run in options.runs])
    record = {
        "logits_differ_at_export": exported.difference,
        **{key: value for key, value in found.items() if key != "answers"},
        **differences(options.runs, photos, found["answers"]),
    }
    for name, value in record.items():
        print(f"{name:34} {value}")
    if options.out:
        options.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def measured(
    browser: Any, address: str, sent: list[int], photos: list[Path], tasks: list[str]
) -> dict[str, Any]:
    """What the page loads and how long it takes; its answers for each photo."""
    context = browser.new_context()
    refused: list[str] = []
    context.route(
        lambda url: not url.startswith(address),
        lambda route: (refused.append(route.request.url), route.abort()),
    )
    tab = context.new_page()
    begun = time.perf_counter()
    tab.goto(address)
    tab.locator("#ask:not([hidden])").wait_for()
    tab.set_input_files("#choose", photos[0])
    tab.locator(".best").first.wait_for(timeout=300_000)
    first = time.perf_counter() - begun
    loaded = sum(sent)
    asked = [
        tab.evaluate(_ASK, [base64.b64encode(p.read_bytes()).decode(), p.name, tasks])
        for p in photos
    ]
    context.close()
    seconds = sorted(one["seconds"] for one in asked)
    return {
        "bytes_until_the_first_label": loaded,
        "seconds_until_the_first_label": round(first, 2),
        "seconds_a_photo_median": round(seconds[len(seconds) // 2], 3),
        "tasks": len(tasks),
        "photos": len(photos),
        "addresses_refused": len(refused),
        "answers": [one["answers"] for one in asked],
    }


def differences(runs: list[Path], photos: list[Path], answers: list[Any]) -> dict[str, Any]:
    """How far the page's answers are from those of ``predict``."""
    largest, labels, known = 0.0, 0, 0
    for place, run in enumerate(runs):
        classifier = arcvit.load(run, device="cpu")
        for answer, expected in zip(answers, classifier.predict(photos, top=20), strict=True):
            found = answer[place]["predictions"][0]
            shares = {one["label"]: one["probability"] for one in found["top"]}
            largest = max(
                [largest]
                + [abs(shares[r.label] - r.probability) for r in expected.top if r.label in shares]
            )
            labels += found["labels"] != list(expected.labels)
            known += found["known"] != expected.known
    return {
        "largest_difference_of_probability": largest,
        "other_labels_than_predict": labels,
        "known_where_predict_is_not": known,
    }


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, list[int]]]:
    """The folder's address, and the sizes of what was sent."""
    sent: list[int] = []

    class Counting(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def copyfile(self, source: Any, outputfile: Any) -> None:
            begun = source.tell()
            super().copyfile(source, outputfile)
            sent.append(source.tell() - begun)

    handler = functools.partial(Counting, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", sent
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def a_browser() -> Iterator[Any]:
    """The installed Chromium."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))))
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


if __name__ == "__main__":
    main()
