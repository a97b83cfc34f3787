"""Pushing to the hub: what was made goes up whole, or one sentence says why not."""

import json
import os
import shutil
import subprocess
import sys
from typing import Any

import huggingface_hub.utils._http
import pytest
import torch
from safetensors.torch import load_file

from arcvit.core.errors import UserError
from arcvit.export.hub import push_folder
from arcvit.recipe.classifier import load

# The hub's client hands its HTTP library a file as that library no longer likes it.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
GONE = 0


def failed(status: int, **headers: str) -> Any:
    """An answer of the stand-in: with a connection that breaks for GONE."""

    class Failed:
        body = b'{"error": "Bad luck"}'

    Failed.status, Failed.headers = status, {"X-Error-Message": "Bad luck", **headers}  # type: ignore[attr-defined]
    return Failed


def test_without_a_network_one_sentence_says_so(trained) -> None:
    with pytest.raises(UserError, match=r"can't push to 'me/pets': \S+ can't be reached, or broke"):
        push_folder(trained("arc") / "adapter", "me/pets")


def test_the_adapter_of_a_run_goes_up_with_a_card_for_the_repository(trained, arcvit, hub) -> None:
    answer = arcvit("push", trained("arc"), "me/colours", "--private")
    assert answer.code == 0, answer.err
    assert answer.out == f"{hub.address}/me/colours/commit/{hub.commit('me/colours')}\n"
    assert "is only here: who loads it elsewhere needs that" in answer.err
    assert hub.private == {"me/colours"}
    files = hub.files("me/colours")
    folder = trained("arc") / "adapter"
    assert sorted(files) == sorted([".gitattributes", *(file.name for file in folder.iterdir())])
    for name in ("adapter_model.safetensors", "adapter_config.json", "task.json"):
        assert files[name] == (folder / name).read_bytes()
    card = files["README.md"].decode()
    for said in ("Labels (4): blue, green, red, white", "arcvit.load('me/colours')"):
        assert said in card
    assert "More Information Needed" not in card
    # What is there already isn't sent again, nor committed.
    asked = len(hub.asked)
    assert arcvit("push", trained("arc"), "me/colours").code == 0
    assert not any("/commit/" in request for request in hub.asked[asked:])


def test_a_folder_for_timm_goes_up_with_a_card_that_loads_it(tiny, tmp_path, arcvit, hub) -> None:
    folder = tmp_path / "timm"
    shutil.copytree(tiny, folder)
    record = json.loads((folder / "config.json").read_text()) | {"label_names": ["cat", "dog"]}
    (folder / "config.json").write_text(json.dumps(record))
    (folder / "notes.txt").write_text("mine")
    answer = arcvit("push", folder, "me/plain")
    assert answer.code == 0, answer.err
    files = hub.files("me/plain")
    assert sorted(files) == [".gitattributes", "README.md", "config.json", "model.safetensors"]
    card = files["README.md"].decode()
    assert "library_name: timm" in card and "- Labels (2): cat, dog" in card
    found: dict[str, Any] = {}
    exec(card.partition("```python\n")[2].partition("```")[0], found)
    weights = load_file(folder / "model.safetensors")
    assert all(torch.equal(v, weights[k]) for k, v in found["model"].state_dict().items())
    assert found["labels"] == ["cat", "dog"]
    (folder / "README.md").write_text("---\npipeline_tag: image-classification\n---\nmine\n")
    assert arcvit("push", folder, "me/plain").code == 0
    assert hub.files("me/plain")["README.md"].endswith(b"mine\n")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"config.json": "{}", "model.safetensors": ""}, "is no config of timm or transformers"),
        ({"config.json": "{}"}, "has no weights: expected model.safetensors in it."),
        ({}, "is not a finished run"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path, arcvit, hub, files, said: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    answer = arcvit("push", tmp_path, "me/none")
    assert (answer.code, hub.asked) == (2, [])
    assert said in answer.err


NO = "can't push to 'me/colours': "
MEANWHILE = "somebody else changed it meanwhile"
FAILURES: dict[tuple[str, int], str] = {
    ("create", 401): "doesn't know who you are; log in with `hf auth login`, or set HF_TOKEN.",
    ("create", 403): "doesn't let you write there (403); check the name, and log in with a token",
    ("create", 500): "is in trouble (500), and took nothing; push again later.",
    ("card", 400): "refuses it (400): Bad luck.",
    ("preupload", 403): "doesn't let you write there (403)",
    ("batch", 429): "refuses it (429): Bad luck.",
    ("put", 500): "is in trouble (500), and took nothing; push again later.",
    ("put", GONE): "can't be reached, or broke off",
    ("verify", 404): "doesn't let you write there (404)",
    ("commit", 409): f"{MEANWHILE} (409), and nothing of yours; push again.",
    ("commit", 412): f"{MEANWHILE} (412), and nothing of yours; push again.",
    ("commit", 500): "is in trouble (500), and took nothing; push again later.",
    ("commit", GONE): "can't be reached, or broke off",
}


@pytest.mark.parametrize(("step", "status"), FAILURES)
def test_what_fails_on_the_way_is_one_sentence_and_no_half_commit(
    trained, arcvit, hub, monkeypatch, step: str, status: int
) -> None:
    monkeypatch.setattr(huggingface_hub.utils._http.time, "sleep", lambda seconds: None)
    hub.failing[step] = failed(status)
    answer = arcvit("push", trained("arc"), "me/colours")
    assert (answer.code, answer.out) == (2, "")
    (said,) = [line for line in answer.err.splitlines() if line.startswith("arcvit: ")]
    assert said.startswith(f"arcvit: {NO}")
    assert FAILURES[step, status] in said
    there = hub.files("me/colours") if ("me/colours", "main") in hub.revisions else {}
    assert set(there) <= {".gitattributes"}


def test_who_may_not_write_is_told(trained, arcvit, hub, monkeypatch) -> None:
    hub.token = "hf_secret"
    answer = arcvit("push", trained("arc"), "me/colours")
    assert answer.code == 2
    assert "doesn't know who you are; log in with `hf auth login`, or set HF_TOKEN." in answer.err
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert arcvit("push", trained("arc"), "me/colours").code == 0


def test_nothing_private_goes_into_a_public_repository(trained, arcvit, hub, tiny) -> None:
    hub.add("me/colours", tiny)
    answer = arcvit("push", trained("arc"), "me/colours", "--private")
    assert answer.code == 2
    assert "'me/colours' is there already and public: make it private on its page" in answer.err
    assert "task.json" not in hub.files("me/colours")


NAMES = {
    "colours": "'colours' is no name of a repository on the hub: expected USER/NAME.",
    "me/colours/v2": "'me/colours/v2' is no name of a repository",
    "me/a b": "'me/a b' is no name of a repository",
    "me/colours--2": "can't push to 'me/colours--2': the hub knows no such names",
}


@pytest.mark.parametrize("repo", NAMES)
def test_what_is_no_name_of_a_repository(trained, arcvit, hub, repo: str) -> None:
    answer = arcvit("push", trained("arc"), repo)
    assert answer.code == 2
    assert NAMES[repo] in answer.err
    assert not hub.asked


@pytest.mark.slow
def test_what_was_pushed_is_predicted_with_elsewhere(trained, photos, hub, tmp_path) -> None:
    hub.token = "hf_secret"
    environment = os.environ | hub.environment(tmp_path / "home")

    def arcvit(*arguments: object) -> str:
        command = [sys.executable, "-m", "arcvit.cli.main", *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    images = sorted((photos / "test" / "red").iterdir())
    assert arcvit("push", trained("arc"), "me/colours", "--private").startswith(hub.address)
    printed = arcvit("predict", "me/colours", *images, "--json")
    told = [json.loads(line) for line in printed.splitlines()]
    expected = load(trained("arc"), device="cpu").predict(images)
    assert [item["label"] for item in told] == [prediction.label for prediction in expected]
