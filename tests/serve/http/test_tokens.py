"""Who may ask, who may load, and what doesn't let anybody in."""

from pathlib import Path

import pytest

pytest.importorskip("starlette")

from starlette.requests import Request

from arcvit.core.errors import UserError
from arcvit.serve.http.http_error import HttpError
from arcvit.serve.http.tokens import Tokens

USER, ADMIN = "u" * 16, "a" * 20
HERE = {"host": "127.0.0.1:8000"}


def asked(peer: str | None = "127.0.0.1", **headers: str) -> Request:
    named = {**HERE, **{name.replace("_", "-"): value for name, value in headers.items()}}
    raw = [(name.encode(), value.encode("latin-1")) for name, value in named.items()]
    client = None if peer is None else (peer, 1234)
    return Request({"type": "http", "headers": raw, "client": client})


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


NONE = Tokens()
BOTH = Tokens.read(None, {"ARCVIT_TOKENS": f"{USER}, admin:{ADMIN}"})
USERS = Tokens.read(None, {"ARCVIT_TOKENS": USER})


@pytest.mark.parametrize(
    ("tokens", "request_", "admin"),
    [
        (NONE, asked("8.8.8.8"), False),
        (NONE, asked(), True),
        (NONE, asked("::1", host="[::1]:8000"), True),
        (NONE, asked("::ffff:127.0.0.1", host="localhost"), True),
        (NONE, asked(origin="http://127.0.0.1:8000"), True),
        (BOTH, asked("8.8.8.8", **bearer(USER)), False),
        (BOTH, asked("8.8.8.8", **bearer(ADMIN)), False),
        (BOTH, asked("8.8.8.8", **bearer(ADMIN)), True),
        (BOTH, asked("8.8.8.8", authorization=f"bearer  {ADMIN}"), True),
        (USERS, asked(**bearer(USER)), True),
    ],
)
def test_who_is_let_in(tokens: Tokens, request_: Request, admin: bool) -> None:
    tokens.check(request_, admin=admin)


@pytest.mark.parametrize(
    ("tokens", "request_", "admin", "said"),
    [
        (BOTH, asked(), False, "a token is needed"),
        (BOTH, asked(**bearer("")), False, "the token isn't known"),
        (BOTH, asked(**bearer(USER[:-1])), False, "the token isn't known"),
        (BOTH, asked(**bearer(f"admin:{ADMIN}")), False, "the token isn't known"),
        (BOTH, asked(**bearer("\xfc\xff")), False, "the token isn't known"),
        (BOTH, asked(authorization=f"Basic {USER}"), False, "a token is needed"),
        (BOTH, asked(**bearer(USER)), True, "need the admin's token"),
        (USERS, asked("8.8.8.8", **bearer(USER)), True, "for this machine alone"),
        (NONE, asked("8.8.8.8"), True, "for this machine alone"),
        (NONE, asked(None), True, "for this machine alone"),
        # A proxy here asks for somebody elsewhere.
        (NONE, asked(x_forwarded_for="8.8.8.8"), True, "for this machine alone"),
        (NONE, asked(forwarded="for=8.8.8.8"), True, "for this machine alone"),
        # A page of somebody else's in a browser here.
        (NONE, asked(origin="http://evil.example"), True, "for this machine alone"),
        (NONE, asked(origin="null"), True, "for this machine alone"),
        (NONE, asked(host="evil.example:8000"), True, "for this machine alone"),
    ],
)
def test_who_is_not(tokens: Tokens, request_: Request, admin: bool, said: str) -> None:
    with pytest.raises(HttpError, match=said) as caught:
        tokens.check(request_, admin=admin)
    assert caught.value.status == 401
    assert caught.value.headers["WWW-Authenticate"] == "Bearer"


def test_a_file_and_the_environment_are_both_read(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# of the lab, {'x' * 16}\n{USER}\n\nadmin:{ADMIN}\n")
    tokens = Tokens.read(file, {"ARCVIT_TOKENS": "e" * 16})
    assert (len(tokens.users), len(tokens.admins)) == (2, 1)
    for token in (USER, "e" * 16):
        tokens.check(asked(**bearer(token)), admin=False)


@pytest.mark.parametrize("text", ["", "# nothing\n", "short", "admin:short", "ü" * 20])
def test_files_without_a_good_token(tmp_path: Path, text: str) -> None:
    file = tmp_path / "tokens"
    file.write_text(text)
    with pytest.raises(UserError, match="token"):
        Tokens.read(file, {})
