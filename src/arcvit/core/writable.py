"""Whether something can be written at a place: found out before the work, not after it."""

import tempfile
from pathlib import Path

from arcvit.core.errors import UserError


def check_writable(**outputs: Path | None) -> None:
    """Refuse places where nothing can be written. Nothing is left there.

    It is tried, as permissions don't tell: the superuser has all of them, and a disk may be
    read-only.

    Args:
        outputs: the file or folder of each flag, by its name; it needn't be there yet.

    Raises:
        UserError: names the flag, the place and the reason.
    """
    for flag, target in outputs.items():
        if target is None:
            continue
        absolute = target.absolute()
        try:
            place = next(path for path in (absolute, *absolute.parents) if path.exists())
            if place == absolute and not place.is_dir():
                if not place.is_file():
                    continue  # a pipe or a device, which nothing is made beside
                place = place.parent
            elif not place.is_dir():
                raise _is_a_file(flag, target, place)
            with tempfile.TemporaryFile(dir=place):
                pass
        except OSError as error:
            raise UserError(
                f"--{flag} {str(target)!r} can't be written ({error.strerror}): choose another"
                " place."
            ) from error


def check_writable_folders(**outputs: Path | None) -> None:
    """The same, of what must be a folder if it is there.

    Raises:
        UserError: as :func:`check_writable`, or it is a file.
    """
    for flag, target in outputs.items():
        if target is not None and target.is_file():
            raise _is_a_file(flag, target, target)
    check_writable(**outputs)


def _is_a_file(flag: str, target: Path, place: Path) -> UserError:
    return UserError(
        f"--{flag} {str(target)!r}: {place} is a file, expected a folder or a new name."
    )
