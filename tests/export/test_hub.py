"""Pushing an adapter: the folder goes up as it is, or one sentence says why not."""

from types import SimpleNamespace

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from arcvit.core.errors import UserError
from arcvit.export.hub import push_folder


class Hub:
    """A stand-in that keeps what is uploaded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        monkeypatch.setattr(HfApi, "create_repo", self.create)
        monkeypatch.setattr(HfApi, "create_commit", self.commit)

    def create(self, repo: str, *, private: bool, exist_ok: bool) -> SimpleNamespace:
        assert exist_ok
        self.repositories.setdefault(repo, {})
        if private:
            self.private.add(repo)
        return SimpleNamespace(repo_id=repo)

    def commit(
        self, *, repo_id: str, operations: list[CommitOperationAdd], commit_message: str
    ) -> str:
        assert commit_message
        for added in operations:
            with added.as_file() as file:
                self.repositories[repo_id][added.path_in_repo] = file.read()
        return f"hub/{repo_id}/commit/1"


def test_without_a_network_one_sentence_says_so(trained) -> None:
    with pytest.raises(UserError, match=r"can't push to 'me/pets': .* upload .* by hand"):
        push_folder(trained("arc") / "adapter", "me/pets")


def test_the_adapter_of_a_run_goes_up_with_a_card_for_the_repository(
    trained, arcvit, monkeypatch
) -> None:
    hub = Hub(monkeypatch)
    answer = arcvit("push", trained("arc"), "--repo=me/colours", "--private")
    assert (answer.code, answer.out) == (0, "hub/me/colours/commit/1\n")
    assert hub.private == {"me/colours"}
    files = hub.repositories["me/colours"]
    folder = trained("arc") / "adapter"
    assert sorted(files) == sorted(file.name for file in folder.iterdir())
    for name in ("adapter_model.safetensors", "adapter_config.json", "task.json"):
        assert files[name] == (folder / name).read_bytes()
    card = files["README.md"].decode()
    for said in ("Labels (4): blue, green, red, white", "arcvit.load('me/colours')"):
        assert said in card
    assert "More Information Needed" not in card


def test_only_a_finished_run_is_pushed(tmp_path, arcvit) -> None:
    answer = arcvit("push", tmp_path, "--repo=me/none")
    assert answer.code == 2
    assert "is not a finished run" in answer.err
