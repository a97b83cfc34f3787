"""Finished runs under an address, where the workers of a bench share no disk with it. No torch.

A run is put there whole, its ``result.json`` last, so what has one is finished. An address is
anything that fsspec opens: ``s3://bucket/bench``, ``gs://bucket/bench``, ``file:///mnt/bench``.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from arcvit.core.errors import UserError
from arcvit.core.files import atomic_path
from arcvit.core.result import RESULT_FILE, is_finished, read_result


class _DamagedError(Exception):
    """What was brought is no finished run."""


class Store:
    """What lies under an address.

    Args:
        address: with its protocol. Its library looks for credentials where it always does.

    Raises:
        UserError: nothing opens such an address, or what opens it isn't installed.
    """

    def __init__(self, address: str) -> None:
        from fsspec.core import url_to_fs

        self.address = address.rstrip("/")
        if "://" not in address:
            raise UserError(
                f"--results is {address!r}: expected an address with its protocol, as"
                " s3://bucket/bench or file:///mnt/bench."
            )
        try:
            # A list that is kept wouldn't hold what others have put there since.
            system, root = url_to_fs(self.address, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise UserError(f"--results {address}: {error}.") from error
        self._system: Any = system
        self._root = str(root).rstrip("/")

    def put(self, folder: Path, name: str) -> None:
        """Put a finished run there, under its name."""
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        files.sort(key=lambda path: path.name == RESULT_FILE)
        self.put_files(folder, [path for path in files if not path.name.startswith(".")], name)

    def put_files(self, folder: Path, files: Iterable[Path], name: str = ".") -> None:
        """Put files of a folder there, in their order and under the same names."""
        with self._reached():
            for path in files:
                target = f"{self._root}/{PurePosixPath(name, path.relative_to(folder))}"
                self._system.makedirs(target.rpartition("/")[0], exist_ok=True)
                self._system.put_file(str(path), target)

    def fetch(self, name: str, folder: Path) -> bool:
        """Bring a run into a folder, in place of what is there; False: it isn't finished there."""
        files = self._names(name)
        if RESULT_FILE not in files:
            return False
        try:
            with atomic_path(folder) as partial:
                for file in files:
                    self._get(f"{name}/{file}", partial / file)
                try:
                    read_result(partial)
                except UserError as error:
                    raise _DamagedError from error
        except _DamagedError:  # who put it there died over it
            return False
        return True

    def fetch_all(self, folder: Path, others: Sequence[str]) -> None:
        """Bring all finished runs into the folder of a bench, and other files, where they aren't.

        Args:
            folder: of the bench.
            others: patterns of files that are no run's, from the folder of the bench.
        """
        names = [PurePosixPath(name) for name in self._names()]
        for name in names:
            if name.name == RESULT_FILE and not is_finished(folder / name.parent):
                self.fetch(str(name.parent), folder / name.parent)
            other = any(name.match(p) and len(name.parts) == p.count("/") + 1 for p in others)
            if other and not (folder / name).exists():
                with atomic_path(folder / name) as partial:
                    self._get(str(name), partial)

    def _names(self, name: str = "") -> list[str]:
        """Files there or below a name, from it on."""
        place = f"{self._root}/{name}".rstrip("/")
        with self._reached():
            return [str(file).removeprefix(f"{place}/") for file in self._system.find(place)]

    def _get(self, name: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._reached():
            self._system.get_file(f"{self._root}/{name}", str(target))

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # each protocol's library has its own
            text = " ".join(str(error).split())
            raise UserError(
                f"--results {self.address} can't be used: {type(error).__name__}: {text[:300]}."
            ) from error
