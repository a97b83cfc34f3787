"""Adapter folders on the hub: push one, pull one.

``PeftModel.push_to_hub`` replaces the model card by a fresh template (transformers'
``PushToHubMixin``); here it goes up with its snippet loading from the repository.
"""

from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, snapshot_download

from arcvit.backbones.hub import offline_if_unreachable
from arcvit.core.errors import UserError
from arcvit.core.files import read_json
from arcvit.core.task import TASK_FILE
from arcvit.export.model_card import CARD_FILE, model_card
from arcvit.methods.stored import CONFIG_FILE, read_stored


def push_folder(folder: Path, repo: str, *, private: bool = False) -> str:
    """Upload an adapter folder into a model repository, made if it isn't there.

    Args:
        folder: what to upload, whole.
        repo: ``USER/NAME``.
        private: whether a new repository is private.

    Returns:
        The address of the commit.

    Raises:
        UserError: the folder isn't an adapter, or the hub can't be reached or refuses.
    """
    stored = read_stored(folder)
    config = {} if stored.config is None else read_json(folder / CONFIG_FILE)
    card = model_card(stored.task, config, source=repo)
    files: dict[str, Path | bytes] = {file.name: file for file in sorted(folder.iterdir())}
    files[CARD_FILE] = card.encode()
    api = HfApi()
    try:
        with offline_if_unreachable():
            created = api.create_repo(repo, private=private, exist_ok=True)
            commit = api.create_commit(
                repo_id=created.repo_id,
                operations=[CommitOperationAdd(name, file) for name, file in files.items()],
                commit_message="Upload an adapter",
            )
    # The hub's client raises its own errors, the network library's and the system's.
    except Exception as error:
        raise UserError(
            f"can't push to {repo!r}: {_reason(error)}; check the name, log in with `hf auth"
            f" login`, or upload {folder} by hand."
        ) from error
    return str(commit)


def pull_folder(repo: str, *, revision: str | None = None) -> Path:
    """The adapter in a repository, from the local cache or the hub.

    Only what an adapter consists of is fetched: weights in safetensors, JSON, the model card.

    Args:
        repo: ``USER/NAME``.
        revision: a branch, tag or commit; None: the main branch.

    Raises:
        UserError: it can't be had.
    """
    try:
        with offline_if_unreachable():
            wanted = [TASK_FILE, CONFIG_FILE, CARD_FILE, "*.safetensors"]
            return Path(snapshot_download(repo, revision=revision, allow_patterns=wanted))
    except Exception as error:
        raise UserError(
            f"no adapter {repo!r}: it is no folder here, and the hub doesn't give a repository of"
            f" that name ({_reason(error)})."
        ) from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
