"""A stand-in of the hub, which huggingface_hub, timm and transformers ask over HTTP."""

import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.constants
import pytest

_getaddrinfo = socket.getaddrinfo
MAIN = "main"


class StandInHub:
    """Repositories by name and revision, served over HTTP; a commit's name follows from files."""

    def __init__(self) -> None:
        self.revisions: dict[tuple[str, str], dict[str, bytes]] = {}
        self.refused: dict[str, tuple[int, str]] = {}
        """Status and error code of repositories that aren't shown."""
        self.cut: str | None = None
        """A file on whose way the connection breaks."""

    def add(self, repo: str, folder: Path, revision: str = MAIN) -> str:
        """Make a folder's files a revision of a repository; its commit."""
        files = {file.name: file.read_bytes() for file in sorted(folder.iterdir())}
        self.revisions[repo, revision] = files
        commit = hashlib.sha1(repr((repo, sorted(files.items()))).encode()).hexdigest()
        self.revisions[repo, commit] = files
        return commit

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a file's address."""
        if path.startswith("/api/"):  # asked for what a model may have beside its files
            return 404, {"X-Error-Code": "EntryNotFound"}, b"{}"
        user, name, _, revision, file = (path.strip("/").split("/", 4) + [""] * 5)[:5]
        repo = f"{user}/{name}"
        if repo in self.refused:
            status, code = self.refused[repo]
            return status, {"X-Error-Code": code, "X-Error-Message": code}, b""
        if not any(known == repo for known, _ in self.revisions):
            return 401, {"X-Error-Code": "RepoNotFound"}, b""
        files = self.revisions.get((repo, revision))
        if files is None:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        commit = next(
            r for (n, r), of in self.revisions.items() if n == repo and of is files and len(r) == 40
        )
        if file not in files:
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}, b""
        etag = hashlib.sha1(files[file]).hexdigest()
        return 200, {"X-Repo-Commit": commit, "ETag": f'"{etag}"'}, files[file]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[StandInHub]:
    """The hub, empty, with an empty cache beside it."""
    stand_in = StandInHub()
    with serving(stand_in, tmp_path / "hub_cache"):
        yield stand_in


@pytest.fixture(scope="session")
def hf_vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViT of transformers with two blocks and its processor, as a folder."""
    import torch
    import transformers

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("transformers") / "vit"
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.ViTConfig(
        **sizes, intermediate_size=64, image_size=32, patch_size=8, num_labels=7
    )
    transformers.logging.disable_progress_bar()
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    transformers.ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@contextmanager
def serving(hub: StandInHub, cache: Path) -> Iterator[None]:
    """Within the context the hub's client asks the stand-in, and keeps its files in ``cache``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if hub.cut is not None and self.path.endswith(f"/{hub.cut}"):
                self.close_connection = True
                return
            answer = hub.answer(self.path)
            self.send_response(answer[0])
            for key, value in {**answer[1], "Content-Length": str(len(answer[2]))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(answer[2])

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    constants = huggingface_hub.constants
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", _local_only)
        patch.setattr(constants, "ENDPOINT", address)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE
        patch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            template.replace(template.split("/{repo_id}")[0], address),
        )
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def _local_only(host: object, *args: object, **kwargs: object) -> object:
    if host not in ("127.0.0.1", b"127.0.0.1"):
        raise socket.gaierror(f"tests have no network: {host!r}")
    return _getaddrinfo(host, *args, **kwargs)  # type: ignore[arg-type]
