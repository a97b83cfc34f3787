"""Push an adapter folder to the hub as it is: with the model card that lies in it.

``PeftModel.push_to_hub`` replaces the card by a fresh template (transformers' ``PushToHubMixin``).
"""

from pathlib import Path

from huggingface_hub import HfApi

from arcvit.backbones.hub import offline_if_unreachable
from arcvit.core.errors import UserError


def push_folder(folder: Path, repo: str, *, private: bool = False) -> str:
    """Upload a folder into a model repository, made if it isn't there.

    Args:
        folder: what to upload, whole.
        repo: ``USER/NAME``.
        private: whether a new repository is private.

    Returns:
        The address of the commit.

    Raises:
        UserError: the hub can't be reached or refuses.
    """
    api = HfApi()
    try:
        with offline_if_unreachable():
            created = api.create_repo(repo, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=created.repo_id,
                folder_path=str(folder),
                commit_message="Upload an ARC adapter",
            )
    # The hub's client raises its own errors, the network library's and the system's.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"can't push to {repo!r}: {reason}; check the name, log in with `hf auth login`, or"
            f" upload {folder} by hand."
        ) from error
    return str(commit)
