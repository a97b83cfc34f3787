"""A stand-in of the hub, which huggingface_hub, timm and transformers ask over HTTP.

It speaks what their client sends: files and what is known of them; a new repository, an upload
through Git LFS, a commit. What it wouldn't know better than the hub isn't in it.
"""

import base64
import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import huggingface_hub.constants
import pytest
import yaml

_getaddrinfo = socket.getaddrinfo
MAIN = "main"
GONE = 0
"""In place of a status: the connection breaks without an answer."""


@dataclass(frozen=True)
class Answer:
    """What goes back; nothing at all if its status is GONE."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: object, status: int = 200, **headers: str) -> "Answer":
        shown = {"Content-Type": "application/json"}
        shown |= {f"X-{key.replace('_', '-')}": value for key, value in headers.items()}
        return cls(status, json.dumps(value).encode(), shown)

    @classmethod
    def error(cls, status: int, message: str, code: str = "") -> "Answer":
        coded = {"Error_Code": code} if code else {}
        return cls.json({"error": message}, status, Error_Message=message, **coded)


class StandInHub:
    """Repositories by name and revision, served over HTTP; a commit's name follows from files."""

    def __init__(self) -> None:
        self.revisions: dict[tuple[str, str], dict[str, bytes]] = {}
        self.refused: dict[str, tuple[int, str]] = {}
        """Status and error code of repositories that aren't shown."""
        self.cut: str | None = None
        """A file on whose way the connection breaks."""
        self.private: set[str] = set()
        self.token: str | None = None
        """What a writer, and a reader of what is private, must show; None: nobody is asked."""
        self.failing: dict[str, Answer] = {}
        """Answers of steps of an upload that fail: create, card, preupload, batch, put, verify,
        commit."""
        self.objects: dict[str, bytes] = {}
        """Large files by their SHA-256, of a commit or not."""
        self.asked: list[str] = []
        """Methods and paths, in order."""
        self.address = ""

    def add(self, repo: str, folder: Path, revision: str = MAIN) -> str:
        """Make a folder's files a revision of a repository; its commit."""
        return self._keep(
            repo, {file.name: file.read_bytes() for file in sorted(folder.iterdir())}, revision
        )

    def files(self, repo: str, revision: str = MAIN) -> dict[str, bytes]:
        return self.revisions[repo, revision]

    def commit(self, repo: str, revision: str = MAIN) -> str:
        files = self.files(repo, revision)
        return next(
            r for (n, r), of in self.revisions.items() if n == repo and of is files and len(r) == 40
        )

    def environment(self, cache: Path) -> dict[str, str]:
        """What makes a process of its own ask the stand-in."""
        token = {} if self.token is None else {"HF_TOKEN": self.token}
        # Where the hub stores files with Xet, its client uploads them with a library of its own,
        # which speaks to another server.
        return {
            "HF_ENDPOINT": self.address,
            "HF_HOME": str(cache),
            "HF_HUB_DISABLE_XET": "1",
            **token,
        }

    def answer(self, method: str, target: str, token: str | None, body: bytes) -> Answer:
        path = unquote(urlsplit(target).path)
        self.asked.append(f"{method} {path}")
        if method in ("GET", "HEAD"):
            return self._read(path, token)
        if self.token is not None and token != self.token and not path.startswith("/objects/"):
            return Answer.error(401, "Invalid username or password.")
        return self._write(path, body)

    def _keep(self, repo: str, files: dict[str, bytes], revision: str = MAIN) -> str:
        commit = hashlib.sha1(repr((repo, sorted(files.items()))).encode()).hexdigest()
        self.revisions[repo, revision] = self.revisions[repo, commit] = files
        return commit

    # Reading

    def _read(self, path: str, token: str | None) -> Answer:
        parts = path.strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        parts = parts[2:] if api else parts
        repo, what = "/".join(parts[:2]), parts[2:]
        if repo in self.refused:
            status, code = self.refused[repo]
            return Answer.error(status, code, code)
        known = any(name == repo for name, _ in self.revisions)
        if not known or (repo in self.private and token != self.token):
            return Answer.error(401, "Repository not found", "RepoNotFound")
        revision = what[1] if len(what) > 1 else MAIN
        files = self.revisions.get((repo, revision))
        if files is None:
            return Answer.error(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        commit = self.commit(repo, revision)
        if api:
            return self._told(repo, files, commit, what)
        return self._file(files, commit, "/".join(what[2:]))

    def _told(self, repo: str, files: dict[str, bytes], commit: str, what: list[str]) -> Answer:
        if not what or what[0] == "revision":
            names = [{"rfilename": name} for name in files]
            private = repo in self.private
            return Answer.json({"id": repo, "sha": commit, "private": private, "siblings": names})
        if what[0] == "tree" and len(what) == 2:
            return Answer.json([_described(name, content) for name, content in files.items()])
        # Asked for what a model may have beside its files.
        return Answer.error(404, "Entry not found", "EntryNotFound")

    def _file(self, files: dict[str, bytes], commit: str, name: str) -> Answer:
        if name == self.cut:
            return Answer(GONE)
        if name not in files:
            missing = Answer.error(404, "Entry not found", "EntryNotFound")
            return Answer(missing.status, b"", missing.headers | {"X-Repo-Commit": commit})
        etag = hashlib.sha1(files[name]).hexdigest()
        return Answer(200, files[name], {"X-Repo-Commit": commit, "ETag": f'"{etag}"'})

    # Writing

    def _write(self, path: str, body: bytes) -> Answer:
        parts = path.strip("/").split("/")
        steps: dict[str, Any] = {
            "create": lambda: self._create(json.loads(body)),
            "card": lambda: _check_card(json.loads(body)["content"]),
            "preupload": lambda: self._preupload("/".join(parts[2:4]), json.loads(body)["files"]),
            "batch": lambda: self._batch(json.loads(body)["objects"]),
            "put": lambda: self._put(parts[-1], body),
            "verify": lambda: self._verify(json.loads(body)),
            "commit": lambda: self._commit("/".join(parts[2:4]), parts[-1], body),
        }
        if parts[0] == "objects":
            step = "verify" if parts[-1] == "verify" else "put"
        else:
            named = {"validate-yaml": "card", "create": "create", "batch": "batch"}
            step = named.get(parts[-1]) or parts[4]
        return self.failing.get(step) or steps[step]()

    def _create(self, asked: dict[str, Any]) -> Answer:
        repo = f"{asked['organization']}/{asked['name']}"
        told = {"url": f"{self.address}/{repo}", "name": repo}
        if (repo, MAIN) in self.revisions:
            return Answer.json({"error": "You already created this model repo", **told}, 409)
        self._keep(repo, {".gitattributes": b"*.safetensors filter=lfs\n"})
        # Clients before 2.0 say it in the other way.
        if asked.get("visibility") == "private" or asked.get("private"):
            self.private.add(repo)
        return Answer.json(told)

    def _preupload(self, repo: str, files: list[dict[str, Any]]) -> Answer:
        there = {name: _described(name, content) for name, content in self.files(repo).items()}
        modes = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if _is_large(file["path"]) else "regular",
                "shouldIgnore": False,
                "oid": there.get(file["path"], {}).get("oid"),
            }
            for file in files
        ]
        return Answer.json({"files": modes})

    def _batch(self, wanted: list[dict[str, Any]]) -> Answer:
        described: list[dict[str, Any]] = [
            {"oid": item["oid"], "size": item["size"]} for item in wanted
        ]
        for item in described:
            if item["oid"] not in self.objects:
                address = f"{self.address}/objects/{item['oid']}"
                item["actions"] = {
                    "upload": {"href": address},
                    "verify": {"href": f"{address}/verify"},
                }
        return Answer.json({"transfer": "basic", "objects": described})

    def _put(self, oid: str, body: bytes) -> Answer:
        if hashlib.sha256(body).hexdigest() != oid:
            return Answer.error(400, "The content isn't what its name says.")
        self.objects[oid] = body
        return Answer()

    def _verify(self, told: dict[str, Any]) -> Answer:
        there = self.objects.get(told["oid"])
        if there is None or len(there) != told["size"]:
            return Answer.error(404, "Object does not exist on the server")
        return Answer()

    def _commit(self, repo: str, revision: str, body: bytes) -> Answer:
        header, *operations = [json.loads(line) for line in body.splitlines()]
        assert header["key"] == "header" and header["value"]["summary"]
        files = dict(self.files(repo, revision))
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "file":
                assert value["encoding"] == "base64" and not _is_large(value["path"])
                files[value["path"]] = base64.b64decode(value["content"])
            else:
                assert operation["key"] == "lfsFile", operation["key"]
                if value["oid"] not in self.objects:
                    return Answer.error(400, f"Your push was rejected: {value['path']} is missing")
                files[value["path"]] = self.objects[value["oid"]]
        commit = self._keep(repo, files, revision)
        address = f"{self.address}/{repo}/commit/{commit}"
        return Answer.json({"success": True, "commitUrl": address, "commitOid": commit})


def _is_large(name: str) -> bool:
    return name.endswith(".safetensors")


def _described(name: str, content: bytes) -> dict[str, Any]:
    """An entry of a tree: the oid of a small file is git's, that of a large one its SHA-256."""
    entry: dict[str, Any] = {"type": "file", "path": name, "size": len(content)}
    if not _is_large(name):
        git = b"blob %d\0" % len(content) + content
        return entry | {"oid": hashlib.sha1(git).hexdigest()}
    oid = hashlib.sha256(content).hexdigest()
    return entry | {"oid": oid, "lfs": {"oid": oid, "size": len(content), "pointerSize": 131}}


def _check_card(text: str) -> Answer:
    try:
        _, head, _ = text.split("---\n", 2)
        known = isinstance(yaml.safe_load(head)["pipeline_tag"], str)
    except (ValueError, KeyError, TypeError, yaml.YAMLError):
        known = False
    if not known:
        errors = [{"message": "a card begins with its metadata"}]
        return Answer.json({"errors": errors, "warnings": []}, 400)
    return Answer.json({"errors": [], "warnings": []})


@contextmanager
def serving(hub: StandInHub, cache: Path) -> Iterator[None]:
    """Within the context the hub's client asks the stand-in, and keeps its files in ``cache``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Transfer-Encoding") == "chunked":
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            answer = hub.answer(self.command, self.path, token, body)
            if answer.status == GONE:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for key, value in {
                **answer.headers,
                "Content-Length": str(len(answer.body)),
                "Connection": "close",
            }.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_HEAD = do_POST = do_PUT = do_GET

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    constants = huggingface_hub.constants
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", _local_only)
        patch.setattr(constants, "ENDPOINT", hub.address)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE
        patch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            template.replace(template.split("/{repo_id}")[0], hub.address),
        )
        patch.setattr(constants, "HF_HUB_CACHE", str(cache))
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setattr(constants, "HF_TOKEN_PATH", str(cache / "no_token"))
        for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            patch.delenv(name, raising=False)
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
