"""Which versions of a task are served, in the words of Triton's ``version_policy``."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from arcvit.core.errors import UserError
from arcvit.core.settings import shown

_EXPECTED = (
    'expected {"latest": {"num_versions": 1}}, {"specific": {"versions": [1, 3]}} or {"all": {}}'
)


@dataclass(frozen=True)
class VersionPolicy:
    """Which of the versions that are there are served.

    Attributes:
        kind: the newest ones, certain ones, or all.
        numbers: how many of the newest; or which.
    """

    kind: Literal["latest", "specific", "all"] = "latest"
    numbers: tuple[int, ...] = (1,)

    @classmethod
    def parse(cls, value: Any) -> "VersionPolicy":
        """From Triton's JSON.

        Raises:
            UserError: it isn't a policy.
        """
        if isinstance(value, Mapping) and len(value) == 1:
            ((kind, inner),) = value.items()
            inner = inner if isinstance(inner, Mapping) else {}
            if kind == "all" and not inner:
                return cls("all", ())
            if kind == "latest" and set(inner) <= {"num_versions"}:
                count = inner.get("num_versions", 1)
                if _is_number(count):
                    return cls("latest", (count,))
            versions = inner.get("versions")
            numbers = versions if isinstance(versions, list) else []
            if kind == "specific" and numbers and len(inner) == 1 and all(map(_is_number, numbers)):
                return cls("specific", tuple(numbers))
        raise UserError(f"version_policy is {shown(value)}: {_EXPECTED}.")

    @property
    def record(self) -> dict[str, Any]:
        """As Triton's JSON."""
        inner: dict[str, dict[str, Any]] = {
            "latest": {"num_versions": sum(self.numbers)},
            "specific": {"versions": list(self.numbers)},
            "all": {},
        }
        return {self.kind: inner[self.kind]}

    def served(self, there: Iterable[int]) -> tuple[int, ...]:
        """The versions served of those that are there, in order."""
        versions = sorted(there)
        if self.kind == "latest":
            return tuple(versions[-self.numbers[0] :])
        if self.kind == "specific":
            return tuple(version for version in versions if version in self.numbers)
        return tuple(versions)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**31
