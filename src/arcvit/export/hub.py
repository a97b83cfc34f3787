"""The hub: push an adapter or a plain model, pull an adapter.

``PeftModel.push_to_hub`` replaces the model card by a fresh template (transformers'
``PushToHubMixin``); here it goes up with its snippet loading from the repository.
"""

from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, snapshot_download
from huggingface_hub.errors import HFValidationError

from arcvit.backbones.hub import hub_name, offline_if_unreachable
from arcvit.core.errors import UserError
from arcvit.core.files import read_json
from arcvit.core.task import TASK_FILE, has_task
from arcvit.export.model_card import CARD_FILE, HUB_NAME, model_card
from arcvit.export.plain_card import PLAIN_CONFIG, plain_card
from arcvit.methods.stored import CONFIG_FILE, read_stored


def check_repo(repo: str) -> None:
    """Raise UserError where a name isn't ``USER/NAME``."""
    if not HUB_NAME.fullmatch(repo):
        raise UserError(f"{repo!r} is no name of a repository on the hub: expected USER/NAME.")


def push_folder(folder: Path, repo: str, *, private: bool = False) -> str:
    """Upload a folder into a model repository, made if it isn't there.

    All files are in one commit: it is there whole, or not at all.

    Args:
        folder: an adapter, or a plain model that timm or transformers loads.
        repo: ``USER/NAME``.
        private: the repository must be private; a new one is made so.

    Returns:
        The address of the commit.

    Raises:
        UserError: the folder is neither, the repository is public though it mustn't be, or
            the hub can't be reached or refuses.
    """
    check_repo(repo)
    files = _files_of_plain(folder, repo) if is_plain(folder) else _files_of_adapter(folder, repo)
    api = HfApi()
    try:
        with offline_if_unreachable():
            created = api.create_repo(repo, private=private or None, exist_ok=True)
            public = private and not api.repo_info(created.repo_id).private
            if not public:
                commit = api.create_commit(
                    repo_id=created.repo_id,
                    operations=[CommitOperationAdd(name, file) for name, file in files.items()],
                    commit_message="Upload a model" if is_plain(folder) else "Upload an adapter",
                )
    # The hub's client raises its own errors, the network library's and the system's.
    except Exception as error:
        raise UserError(f"can't push to {repo!r}: {_why_not(error)}.") from error
    if public:
        raise UserError(
            f"{repo!r} is there already and public: make it private on its page, choose another"
            " name, or leave --private out."
        )
    return str(commit)


def is_plain(folder: Path) -> bool:
    """Whether a folder is a plain model rather than an adapter with its task."""
    return (folder / PLAIN_CONFIG).is_file() and not has_task(folder)


def _files_of_adapter(folder: Path, repo: str) -> dict[str, Path | bytes]:
    stored = read_stored(folder)
    config = {} if stored.config is None else read_json(folder / CONFIG_FILE)
    card = model_card(stored.task, config, source=repo)
    return {**_files(folder), CARD_FILE: card.encode()}


def _files_of_plain(folder: Path, repo: str) -> dict[str, Path | bytes]:
    """Config, weights and what else there is in JSON; with a card, unless it has one."""
    files = {name: f for name, f in _files(folder).items() if f.suffix in (".json", ".safetensors")}
    if not any(name.endswith(".safetensors") for name in files):
        raise UserError(f"{str(folder)!r} has no weights: expected model.safetensors in it.")
    own = folder / CARD_FILE
    card = own if own.is_file() else plain_card(folder, repo=repo).encode()
    return {**files, CARD_FILE: card}


def _files(folder: Path) -> dict[str, Path]:
    return {file.name: file for file in sorted(folder.iterdir()) if file.is_file()}


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


def _why_not(error: BaseException) -> str:
    """What the hub said to an upload, and what can be done about it."""
    if isinstance(error, HFValidationError):
        return f"the hub knows no such names ({_reason(error)})"
    causes = list(_causes(error))
    answers = [getattr(cause, "response", None) for cause in causes]
    status = next((answer.status_code for answer in answers if answer is not None), None)
    hub = hub_name()
    if status == 401:
        return f"{hub} doesn't know who you are; log in with `hf auth login`, or set HF_TOKEN"
    if status in (403, 404):
        return (
            f"{hub} doesn't let you write there ({status}); check the name, and log in with a token"
            " that may write (`hf auth login`)"
        )
    if status in (409, 412):
        return f"somebody else changed it meanwhile ({status}), and nothing of yours; push again"
    if status is not None and status >= 500:
        return f"{hub} is in trouble ({status}), and took nothing; push again later"
    if status is not None:
        words = next(filter(None, (getattr(c, "server_message", None) for c in causes)), error)
        return f"{hub} refuses it ({status}): {_reason(words)}"
    return (
        f"{hub} can't be reached, or broke off ({_reason(causes[-1])}); what has arrived is"
        " there whole or not at all; push again"
    )


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that led to it: the client wraps what the hub said."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _reason(words: object) -> str:
    return " ".join(str(words).split())[:200].rstrip(".")
