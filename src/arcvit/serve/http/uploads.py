"""The photos of a plain request: parts of a form, or the body as it is."""

from collections.abc import AsyncGenerator
from typing import NamedTuple

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from arcvit.serve.http.http_error import HttpError
from arcvit.serve.http.limits import Limits

_FORM = "multipart/form-data"


class Photo(NamedTuple):
    """An image file, and what its sender calls it."""

    name: str | None
    data: bytes


class _InMemory(MultiPartParser):
    # The whole body is in memory and bounded already: no part goes through the disk.
    spool_max_size = 0
    is_whole = False

    def on_end(self) -> None:
        """The end of the form was there; without it, the parser leaves out the last part."""
        self.is_whole = True


async def photos_of(request: Request, body: bytes, limits: Limits) -> list[Photo]:
    """The photos of a request, in their order.

    Raises:
        HttpError: there is none, there are too many, or the form is broken.
    """
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != _FORM:
        if not body:
            raise HttpError(
                400, f"there is no image: expected one as the body, or several as {_FORM}."
            )
        return [Photo(None, body)]
    parser = _InMemory(
        request.headers, _whole(body), max_files=limits.max_images, max_fields=limits.max_images
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        status = 413 if error.message.startswith("Too many") else 400
        raise HttpError(status, f"the form can't be read: {error.message.rstrip('.')}.") from error
    except UnicodeError as error:  # a charset that decodes nothing
        raise HttpError(400, f"the form can't be read: {error}.") from error
    files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
    photos = [Photo(file.filename, await file.read()) for file in files]
    await form.close()
    if not parser.is_whole:
        raise HttpError(400, "the form can't be read: it ends before its last boundary.")
    if not photos:
        raise HttpError(
            400, "the form holds no file: expected parts with a file name, as curl -F image=@FILE."
        )
    return photos


async def _whole(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
