"""Pushing an adapter: the folder goes up as it is, or one sentence says why not."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import HfApi

from arcvit.core.errors import UserError
from arcvit.export.hub import push_folder


class Hub:
    """A stand-in that keeps what is uploaded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        monkeypatch.setattr(HfApi, "create_repo", self.create)
        monkeypatch.setattr(HfApi, "upload_folder", self.upload)

    def create(self, repo: str, *, private: bool, exist_ok: bool) -> SimpleNamespace:
        assert exist_ok
        self.repositories.setdefault(repo, {})
        if private:
            self.private.add(repo)
        return SimpleNamespace(repo_id=repo)

    def upload(self, *, repo_id: str, folder_path: str, commit_message: str) -> str:
        assert commit_message
        files = {p.name: p.read_bytes() for p in Path(folder_path).iterdir()}
        self.repositories[repo_id] |= files
        return f"hub/{repo_id}/commit/1"


def test_the_folder_goes_up_as_it_is(tmp_path, monkeypatch) -> None:
    hub = Hub(monkeypatch)
    (tmp_path / "README.md").write_text("our card")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"weights")
    assert push_folder(tmp_path, "me/pets", private=True) == "hub/me/pets/commit/1"
    assert hub.repositories["me/pets"] == {
        "README.md": b"our card",
        "adapter_model.safetensors": b"weights",
    }
    assert hub.private == {"me/pets"}


def test_without_a_network_one_sentence_says_so(tmp_path) -> None:
    with pytest.raises(UserError, match=r"can't push to 'me/pets': .* upload .* by hand"):
        push_folder(tmp_path, "me/pets")


def test_the_command_pushes_the_adapter_of_a_run(trained, arcvit, monkeypatch) -> None:
    hub = Hub(monkeypatch)
    answer = arcvit("push", trained("arc"), "--repo=me/colours")
    assert (answer.code, answer.out) == (0, "hub/me/colours/commit/1\n")
    card = hub.repositories["me/colours"]["README.md"].decode()
    for said in ("Labels (4): blue, green, red, white", "Accuracy on the test split", "Base model"):
        assert said in card
    assert "More Information Needed" not in card


def test_only_a_finished_run_is_pushed(tmp_path, arcvit) -> None:
    answer = arcvit("push", tmp_path, "--repo=me/none")
    assert answer.code == 2
    assert "is not a finished run" in answer.err
