"""The server as clients see it: real adapters on a real backbone behind real sockets."""

import base64
import json
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx")

import httpx

import arcvit
from arcvit.serve.http.app import build_app
from arcvit.serve.http.context import Context
from arcvit.serve.http.openapi import described
from arcvit.serve.http.tokens import Tokens

Opening = Callable[..., AbstractContextManager[Any]]


@pytest.fixture
def photo(photos_as_files: list[bytes]) -> bytes:
    return photos_as_files[0]


def test_a_photo_is_answered_as_from_python(
    client: Any, adapters: Path, photo: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "photo.png"
    file.write_bytes(photo)
    (expected,) = arcvit.load(adapters / "fruit", device="cpu").predict(file, top=2)
    record = {**expected.record, "path": "photo.png"}
    answer = client.post("/v1/tasks/fruit/predict?top=2", files={"image": ("photo.png", photo)})
    assert answer.status_code == 200
    said = answer.json()
    assert (said["task"], said["version"]) == ("fruit", 1)
    (prediction,) = said["predictions"]
    assert prediction.keys() == record.keys()
    for name in ("label", "labels", "path", "known", "error"):
        assert prediction[name] == record[name]
    values = [ranked.pop("probability") for ranked in prediction["top"]]
    assert values == pytest.approx(
        [ranked.pop("probability") for ranked in record["top"]], abs=1e-5
    )
    assert prediction["top"] == record["top"]
    raw = client.post("/v1/tasks/fruit/predict", content=photo).json()["predictions"][0]
    assert (raw["path"], raw["label"]) == (None, record["label"])


def test_several_tasks_and_photos(client: Any, photos_as_files: list[bytes]) -> None:
    files = [("image", (f"{k}.png", data)) for k, data in enumerate(photos_as_files[:2])]
    files.insert(1, ("image", ("notes.txt", b"no photo")))
    asked = {"tasks": ["tags, any", "torn", "nowhere", "fruit", "tags, any"]}
    said = client.post("/v1/predict", params=asked, files=files).json()["tasks"]
    assert list(said) == asked["tasks"][:-1]
    assert said.pop("torn").keys() == said.pop("nowhere").keys() == {"error"}
    for task in said.values():
        first, second, third = task["predictions"]
        assert [p["path"] for p in (first, second, third)] == ["0.png", "notes.txt", "1.png"]
        assert second["label"] is None
        assert "not an image" in second["error"]
        assert first["error"] is third["error"] is None
    none = client.post("/v1/predict?tasks=torn&tasks=nowhere", files=files)
    assert (none.status_code, none.json()["error"][:12]) == (404, "task 'torn' ")
    alone = client.post("/v1/predict?tasks=fruit", files=[files[1]])
    assert alone.status_code == 422
    assert alone.json()["error"].startswith("notes.txt can't be read: not an image")


def test_versions(client: Any, photo: bytes) -> None:
    def asked(query: str) -> Any:
        return client.post(f"/v1/tasks/shapes/predict{query}", content=photo)

    assert asked("").json()["version"] == 2
    client.post(
        "/v2/repository/models/shapes/load",
        json={"parameters": {"config": '{"version_policy": {"all": {}}}'}},
    ).raise_for_status()
    assert asked("?version=1").json()["version"] == 1
    assert asked("?version=1").json() != asked("?version=2").json()
    assert asked("?version=3").status_code == 404


def test_how_tasks_stand(client: Any) -> None:
    tasks = {task["name"]: task for task in client.get("/v1/tasks").json()["tasks"]}
    assert list(tasks) == ["fruit", "shapes", "tags, any", "torn"]
    assert tasks["fruit"]["versions"] == [1]


def test_features(client: Any, photo: bytes) -> None:
    answer = client.post("/v1/embed", content=photo)
    if answer.status_code == 400:  # the tiny backbone doesn't say how its images are prepared
        assert "send them preprocessed" in answer.json()["error"]
    else:
        assert np.array(answer.json()["features"]).shape == (1, 32)


INFER = {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": ["cGhvdG8="]}]}
WRONG = [
    ("POST", "/v1/tasks/friut/predict", {"content": b"a"}, 404, "Did you mean 'fruit'?"),
    ("POST", "/v1/tasks/torn/predict", {"content": b"a"}, 404, "'torn' can't be served"),
    ("POST", "/v1/tasks/fruit/predict", {"content": b"a"}, 422, "image 0 can't be read"),
    ("POST", "/v1/tasks/fruit/predict", {}, 400, "there is no image"),
    ("POST", "/v1/tasks/fruit/predict", {"content": bytes(2**20 + 1)}, 413, "1,048,576 bytes"),
    ("POST", "/v1/tasks/fruit/predict?top=0", {"content": b"a"}, 400, "top is '0'"),
    ("POST", "/v1/tasks/fruit/predict?top=٣", {"content": b"a"}, 400, "top is"),
    ("POST", "/v1/tasks/fruit/predict?timeout=nan", {"content": b"a"}, 400, "timeout is 'nan'"),
    ("POST", "/v1/tasks/fruit/predict?version=1.0", {"content": b"a"}, 400, "version is '1.0'"),
    ("POST", "/v1/tasks/..%2Ffruit/predict", {"content": b"a"}, 404, ""),
    ("POST", "/v1/tasks/fruit%00/predict", {"content": b"a"}, 404, "Did you mean 'fruit'?"),
    ("POST", "/v2/repository/models/%2e%2e/load", {"json": {}}, 404, "there is no task"),
    ("POST", "/v1/predict?tasks=../fruit", {"content": b"a"}, 404, "there is no task '../fruit'"),
    ("POST", "/v1/predict?tasks=fruit,shapes", {"content": b"a"}, 404, "tasks=NAME&tasks=NAME"),
    ("POST", "/v1/predict", {"content": b"a"}, 400, "expected ?tasks=NAME&tasks=NAME"),
    ("GET", "/v1/predict", {}, 405, "isn't for that method"),
    ("GET", "/v1/nothing", {}, 404, "see /openapi.json"),
    ("GET", "/v2/models/friut", {}, 404, "Did you mean 'fruit'?"),
    ("GET", "/v2/models/fruit/versions/7", {}, 404, "no version 7"),
    ("GET", "/v2/models/fruit/versions/one/ready", {}, 404, "a version is a number"),
    ("GET", "/v2/models/torn/ready", {}, 404, "'torn' can't be served"),
    ("POST", "/v2/models/fruit/infer", {"json": INFER}, 422, "image 0 can't be read"),
    ("POST", "/v2/models/fruit/infer", {"json": {}}, 400, "expected one, 'image'"),
    ("POST", "/v2/repository/models/friut/load", {"json": {}}, 404, "Did you mean 'fruit'?"),
    (
        "POST",
        "/v2/repository/models/fruit/load",
        {"json": {"parameters": {"file:1/model": "a"}}},
        400,
        "expected 'config' or nothing",
    ),
    (
        "POST",
        "/v2/repository/models/fruit/load",
        {"json": {"parameters": {"config": '{"version_policy": {"newest": {}}}'}}},
        400,
        "newest",
    ),
]


@pytest.mark.parametrize(
    ("method", "path", "given", "status", "said"), WRONG, ids=[f"{w[1]}-{w[3]}" for w in WRONG]
)
def test_what_is_refused(
    client: Any, method: str, path: str, given: dict[str, Any], status: int, said: str
) -> None:
    answer = client.request(method, path, **given)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"error"}
    assert said in answer.json()["error"]


def test_the_client_of_triton(
    client: Any, photos_as_files: list[bytes], adapters: Path, context: Context
) -> None:
    triton = pytest.importorskip("tritonclient.http")
    with triton.InferenceServerClient(f"127.0.0.1:{client.base_url.port}") as asking:
        assert asking.is_server_live()
        assert asking.is_server_ready()
        assert asking.is_model_ready("fruit", "1")
        assert not asking.is_model_ready("torn")
        assert asking.get_server_metadata()["name"] == "arcvit"
        outputs = asking.get_model_metadata("fruit")["outputs"]
        assert [(o["name"], o["shape"]) for o in outputs] == [
            ("probabilities", [-1, 4]),
            ("label", [-1]),
            ("known", [-1]),
        ]
        assert asking.get_model_config("shapes")["output"][0]["dims"] == [-1, 2]
        rows = asking.get_model_repository_index()
        assert {(row["name"], row["state"]) for row in rows} >= {("fruit", "READY")}

        files = triton.InferInput("image", [2], "BYTES")
        files.set_data_from_numpy(np.array(photos_as_files[:2], dtype=object))
        found = asking.infer("fruit", [files], request_compression_algorithm="gzip")
        assert found.as_numpy("probabilities").shape == (2, 4)
        assert found.as_numpy("probabilities").sum(1) == pytest.approx(1)
        assert found.as_numpy("known").dtype == bool
        best = asking.infer(
            "fruit",
            [files],
            model_version="1",
            request_id="mine",
            timeout=10_000_000,
            outputs=[
                triton.InferRequestedOutput("probabilities", class_count=1),
                triton.InferRequestedOutput("label", binary_data=False),
            ],
        )
        assert best.get_response()["id"] == "mine"
        for text, label in zip(
            best.as_numpy("probabilities")[:, 0], best.as_numpy("label"), strict=True
        ):
            assert text.decode().split(":")[2] == label

        pixels = triton.InferInput("image", [1, 20, 30, 3], "UINT8")
        pixels.set_data_from_numpy(np.zeros((1, 20, 30, 3), np.uint8), binary_data=False)
        assert asking.infer("shapes", [pixels]).as_numpy("label").shape == (1,)
        given = triton.InferInput("image", [1, 3, 32, 32], "FP32")
        given.set_data_from_numpy(np.zeros((1, 3, 32, 32), np.float32))
        assert asking.infer("shapes", [given]).as_numpy("probabilities").shape == (1, 2)
        other = triton.InferInput("image", [1, 3, 16, 16], "FP32")
        other.set_data_from_numpy(np.zeros((1, 3, 16, 16), np.float32))
        with pytest.raises(Exception, match=r"\[400\].*32"):
            asking.infer("shapes", [other])

        asking.unload_model("fruit")
        with pytest.raises(Exception, match=r"\[404\].*unloaded"):
            asking.infer("fruit", [files])
        asking.load_model("fruit")
        assert asking.infer("fruit", [files]).as_numpy("label").shape == (2,)
        (stats,) = asking.get_inference_statistics("fruit")["model_stats"]
        assert stats["inference_count"] >= 6
        assert stats["inference_stats"]["compute_infer"]["ns"] > 0


def test_several_labels_an_image_have_an_output_of_their_own(client: Any, photo: bytes) -> None:
    tags = client.get("/v2/models/tags, any").json()
    outputs = [(o["name"], o["datatype"], o["shape"]) for o in tags["outputs"]]
    assert outputs == [("probabilities", "FP32", [-1, 3]), ("labels", "BYTES", [-1])]
    config = client.get("/v2/models/tags, any/config").json()
    assert [o["name"] for o in config["output"]] == ["probabilities", "labels"]
    assert config["parameters"]["kind"] == {"string_value": "multilabel"}
    kinds = {task["name"]: task["kind"] for task in client.get("/v1/tasks").json()["tasks"]}
    assert (kinds["tags, any"], kinds["torn"]) == ("multilabel", None)

    def asked(*outputs: str) -> Any:
        image = {"name": "image", "shape": [1], "datatype": "BYTES"}
        data = {"data": [base64.b64encode(photo).decode()]}
        wanted = [{"name": name} for name in outputs]
        body = {"inputs": [image | data], "outputs": wanted}
        return client.post("/v2/models/tags, any/infer", json=body)

    said = client.post("/v1/tasks/tags, any/predict", content=photo).json()
    given = said["predictions"][0]["labels"]
    shown = asked().json()["outputs"][1]
    assert (shown["name"], json.loads(shown["data"][0])) == ("labels", given)
    assert asked("labels").json()["outputs"] == [shown]
    alone = asked("label")  # the most probable one would be wrong where it misses its threshold
    assert alone.status_code == 400
    assert "'tags, any' has no output 'label': it has" in alone.json()["error"]


def test_every_answer_has_the_name_of_its_request(client: Any) -> None:
    named = client.get("/v2", headers={"X-Request-Id": "mine-1"})
    assert named.headers["x-request-id"] == "mine-1"
    for bad in ("a b", "x" * 200):
        given = client.get("/nothing", headers={"X-Request-Id": bad}).headers["x-request-id"]
        assert len(given) == 32


@pytest.mark.parametrize("head", ["HTTP/1.1\r\nContent-Length: 5", "HTTP/1.0"])
def test_a_body_with_two_ends_hides_no_request(
    context: Context, listening: Opening, connected: Opening, head: str
) -> None:
    chunked = "Transfer-Encoding: chunked"
    hidden = "GET /v1/tasks HTTP/1.1\r\nHost: a\r\n\r\n"
    sent = f"POST /v1/embed {head}\r\nHost: a\r\n{chunked}\r\n\r\n0\r\n\r\n{hidden}"
    with listening(build_app(context), context.limits) as port, connected(port) as client:
        client.send(sent.encode())
        said = client.answer()
        assert said.status == 400
        assert "Transfer-Encoding" in said.error
        assert client.is_closed()


def test_counters_name_no_task_that_a_client_made_up(client: Any, photo: bytes) -> None:
    client.post("/v1/tasks/fruit/predict", content=photo)
    client.post("/v1/tasks/made-up/predict", content=photo)
    text = client.get("/metrics").text
    assert 'arcvit_images_total{task="fruit"}' in text
    assert 'arcvit_errors_total{kind="unknown_task",task=""}' in text
    assert 'arcvit_request_seconds_bucket{le="0.1",task="fruit"}' in text
    assert 'arcvit_requests_total{code="200",for="predict"}' in text
    for name in ("queue_images", "batch_images_count", "resident_adapters", "registered_tasks 4.0"):
        assert f"arcvit_{name}" in text
    assert "made-up" not in text


def test_the_description_has_all_routes_and_no_other(client: Any, context: Context) -> None:
    assert client.get("/openapi.json").json() == described()
    paths: dict[str, set[str]] = {}
    for route in build_app(context).routes:
        if route.path not in ("/", "/openapi.json"):
            paths.setdefault(route.path, set()).update(m.lower() for m in route.methods - {"HEAD"})
    assert paths == {
        path: {name for name in about if name != "parameters"}
        for path, about in described()["paths"].items()
    }


def test_tokens(context: Context, listening: Opening, photo: bytes) -> None:
    tokens = Tokens.read(None, {"ARCVIT_TOKENS": f"{'u' * 16} admin:{'a' * 16}"})
    guarded = Context(context.service, context.metrics, context.limits, tokens)
    with listening(build_app(guarded), context.limits) as port:

        def status(method: str, path: str, token: str = "") -> int:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            url = f"http://127.0.0.1:{port}{path}"
            return httpx.request(method, url, headers=headers, content=photo).status_code

        for path in ("/", "/openapi.json", "/v2/health/live", "/v2/health/ready"):
            assert status("GET", path) == 200
        for path in ("/v2", "/v1/tasks", "/metrics", "/nothing", "/v2/health/live/"):
            assert status("GET", path) == 401
        assert status("POST", "/v1/tasks/fruit/predict") == 401
        assert status("POST", "/v1/tasks/fruit/predict", "u" * 16) == 200
        for path in ("/v2/repository/models/fruit/load", "/v2/repository/models/x/unload"):
            assert status("POST", path, "u" * 16) == 401
            assert status("POST", path, "a" * 16) in (400, 404)  # let in, and no JSON


def test_a_client_that_goes_away(
    client: Any, connected: Opening, context: Context, photo: bytes
) -> None:
    gone = 'arcvit_requests_total{code="499",for="predict"}'
    head = (
        f"POST /v1/tasks/fruit/predict HTTP/1.1\r\nHost: a\r\nContent-Length: {len(photo)}\r\n\r\n"
    )
    with connected(client.base_url.port) as half:
        half.send(head.encode() + photo[:-1])
    for _ in range(100):
        if gone in (text := client.get("/metrics").text):
            break
        time.sleep(0.02)
    assert gone in text
    assert context.memory.held == 0


def test_many_at_once(client: Any, photo: bytes) -> None:
    answers: list[Any] = []

    def ask(task: str) -> None:
        answers.append(client.post(f"/v1/tasks/{task}/predict", content=photo))

    threads = [threading.Thread(target=ask, args=[("fruit", "shapes")[k % 2]]) for k in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200] * 16
    assert len({json.dumps(answer.json()["predictions"][0]["label"]) for answer in answers}) == 2
