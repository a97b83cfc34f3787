"""What is in a file, whatever it is called."""

import hashlib
from contextlib import suppress
from pathlib import Path


def content_hash(path: Path) -> str:
    """A hash of a file; of one that can't be read, what no other has."""
    with suppress(OSError):
        if path.is_file():  # a pipe would be waited for
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()[:32]
    return f"unreadable {path}"
