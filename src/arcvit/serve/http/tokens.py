"""Who may ask, and who may load and unload."""

import hashlib
import hmac
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import HTTPConnection

from arcvit.core.errors import UserError
from arcvit.serve.http.http_error import HttpError

VARIABLE = "ARCVIT_TOKENS"
_ADMIN = "admin:"
_SHORTEST = 16
_LOCAL = ("localhost", "127.0.0.1", "[::1]")
_CHALLENGE = {"WWW-Authenticate": "Bearer"}
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


@dataclass(frozen=True)
class Tokens:
    """Digests of the tokens that are taken; none: everyone may ask.

    Attributes:
        users: of those who may ask.
        admins: of those who may load and unload, too.
    """

    users: tuple[bytes, ...] = ()
    admins: tuple[bytes, ...] = ()

    @classmethod
    def read(cls, file: Path | None, environment: Mapping[str, str] = os.environ) -> "Tokens":
        """The tokens of a file and of the environment, parted by blanks, commas or lines.

        A token behind ``admin:`` may load and unload. Lines that begin with # say nothing.

        Raises:
            UserError: the file can't be read, or a token is too short or has odd characters.
        """
        text = environment.get(VARIABLE, "")
        if file is not None:
            try:
                text += "\n" + file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                why = getattr(error, "strerror", None) or "it isn't text"
                raise UserError(f"--tokens {str(file)!r} can't be read: {why}.") from error
        lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
        found = [token for token in re.split(r"[\s,]+", "\n".join(lines)) if token]
        for number, token in enumerate(found, start=1):
            # The sentence doesn't show what is secret.
            if not re.fullmatch(rf"[!-~]{{{_SHORTEST},}}", token.removeprefix(_ADMIN)):
                raise UserError(
                    f"token {number} of {len(found)} is too short or not plain ASCII: expected"
                    f" {_SHORTEST} characters or more, such as openssl rand -hex 16 prints."
                )
        if file is not None and not found:
            raise UserError(f"--tokens {str(file)!r} has no token: expected one a line.")
        admins = [token for token in found if token.startswith(_ADMIN)]
        return cls(
            users=tuple(_digest(token.encode()) for token in found if token not in admins),
            admins=tuple(_digest(token.removeprefix(_ADMIN).encode()) for token in admins),
        )

    def check(self, asked: HTTPConnection, *, admin: bool = False) -> None:
        """Let a request through.

        Args:
            asked: the request.
            admin: whether it loads or unloads.

        Raises:
            HttpError: it may not.
        """
        given = _bearer(asked)
        is_admin = _is_one_of(given, self.admins)
        if (self.users or self.admins) and not (is_admin or _is_one_of(given, self.users)):
            said = "a token is needed" if given is None else "the token isn't known"
            raise HttpError(
                401, f"{said}: send the header Authorization: Bearer TOKEN.", _CHALLENGE
            )
        if not admin or is_admin:
            return
        if self.admins:
            raise HttpError(401, "loading and unloading need the admin's token.", _CHALLENGE)
        if not _is_from_here(asked):
            raise HttpError(
                401,
                "loading and unloading are for this machine alone (127.0.0.1) unless the server has"
                " a token for its admin.",
                _CHALLENGE,
            )


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _is_one_of(given: bytes | None, digests: tuple[bytes, ...]) -> bool:
    """Whether a token is one of these, in a time that doesn't tell how much of it is right."""
    digest = _digest(given or b"")
    same = [hmac.compare_digest(digest, known) for known in digests]
    return given is not None and any(same)


def _bearer(asked: HTTPConnection) -> bytes | None:
    scheme, _, token = asked.headers.get("authorization", "").partition(" ")
    return token.strip().encode("latin-1") if scheme.lower() == "bearer" else None


def _is_from_here(asked: HTTPConnection) -> bool:
    """Whether a process of this machine asks, and not for somebody else.

    A proxy here speaks for strangers, and a page in a browser here may be anybody's: a proxy says
    so, and a browser names the page or the host that the page made it ask.
    """
    if asked.client is None or any(name in asked.headers for name in _FORWARDED):
        return False
    host = re.sub(r":\d+$", "", asked.headers.get("host", ""))
    origin = asked.headers.get("origin")
    own = origin is None or origin.partition("://")[2] == asked.headers.get("host")
    try:
        peer = ipaddress.ip_address(asked.client.host)
    except ValueError:
        return False
    peer = getattr(peer, "ipv4_mapped", None) or peer
    return peer.is_loopback and host in _LOCAL and own
