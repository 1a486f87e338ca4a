"""Responses with files, whole or by byte ranges."""

import os
import re
from contextlib import closing
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Receive, Scope, Send

from mlcmr.search.file_access import MediaFile, path_of_open
from mlcmr.search.media_types import TYPES

_OTHER = "application/octet-stream"
# The media types of a format. The file extension chooses among them; the first type is the default.
_TYPES_OF_FORMAT = {
    "AVIF": ("image/avif",),
    "BMP": ("image/bmp",),
    "GIF": ("image/gif",),
    "HEIF": ("image/heic", "image/heif"),
    "JPEG": ("image/jpeg",),
    "JPEG2000": ("image/jp2", "image/jpx"),
    "PNG": ("image/png", "image/apng"),
    "TIFF": ("image/tiff",),
    "WEBP": ("image/webp",),
    "asf": ("video/x-ms-asf", "video/x-ms-wmv"),
    "avi": ("video/x-msvideo",),
    "dv": ("video/x-dv",),
    "flv": ("video/x-flv",),
    "matroska,webm": ("video/webm", "video/x-matroska"),
    "mov,mp4,m4a,3gp,3g2,mj2": ("video/mp4", "video/quicktime", "video/3gpp", "video/3gpp2", "video/mj2"),
    "mpeg": ("video/mpeg",),
    "mpegts": ("video/mp2t",),
    "mpegvideo": ("video/mpeg",),
    "ogg": ("video/ogg",),
}
_PART = r"(\d{1,18}-\d{0,18}|-\d{1,18})"
_PARTS = re.compile(rf"\s*{_PART}(\s*,\s*{_PART})*\s*", re.ASCII)
# A media file is shown inside a page or saved. Opened by itself, it may not run anything.
_POLICY = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"


class Files(StaticFiles):
    """Files that browsers cache and validate before each use."""

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """Return the file, or 304 if the client has it."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["Cache-Control"] = "private, no-cache"
        return response


def media_type(path: str, content: str | None = None) -> str:
    """Return the media type of a file.

    Args:
        path: The path, whose extension suggests the type.
        content: The format of the content, if it is known (see `Media`).
    """
    named = TYPES.get(Path(path).suffix.lower(), _OTHER)
    if content is None:
        return named
    types = _TYPES_OF_FORMAT.get(content, (_OTHER,))
    return named if named in types else types[0]


class _OpenFileResponse(FileResponse):
    """A response with an open file, which no other file of the same name can replace."""

    def __init__(self, media: MediaFile, status: os.stat_result) -> None:
        super().__init__(media.path, stat_result=status, media_type=media_type(media.path, media.format))
        self._file = media.file
        self.path = path_of_open(media.file, media.path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with closing(self._file):
            await super().__call__(scope, receive, send)


def file_response(media: MediaFile, request: Request) -> Response:
    """Return a response with a file, with parts of the file, or with status 304 if the client has the file.

    Args:
        media: The file; the response closes it.
        request: The request.

    Raises:
        HTTPException: If the range is malformed (status 400) or outside the file (status 416).
    """
    status = os.fstat(media.file.fileno())
    response: Response = _OpenFileResponse(media, status)
    response.headers["Cache-Control"] = "private, no-cache"
    if is_known := Files().is_not_modified(response.headers, request.headers):
        response = NotModifiedResponse(response.headers)
    response.headers["Content-Security-Policy"] = (
        _POLICY  # also of 304, whose headers replace the cached headers
    )
    if is_known:
        return response
    unchanged = (None, response.headers["ETag"], response.headers["Last-Modified"])
    if request.headers.get("If-Range") in unchanged and (wanted := request.headers.get("Range")) is not None:
        _keep_range(request, _satisfiable(wanted, status.st_size))
    return response


def _satisfiable(wanted: str, size: int) -> str | None:
    """Return the parts of a `Range` that the file has; None if the unit is not bytes.

    Starlette would answer some malformed ranges in plain text, and refuse all parts if one is outside.
    """
    unit, _, listed = wanted.partition("=")
    if unit.strip().lower() != "bytes":
        return None
    parts = [part.strip() for part in listed.split(",")]
    pairs = [part.partition("-")[::2] for part in parts]
    if not _PARTS.fullmatch(listed) or any(
        first and last and int(last) < int(first) for first, last in pairs
    ):
        raise HTTPException(400, "Range: expected bytes=<first>-<last>")
    inside = [
        part
        for part, (first, last) in zip(parts, pairs, strict=True)
        if (int(first) < size if first else int(last) > 0 and size > 0)
    ]
    if not inside:
        raise HTTPException(416, f"Range: the file has {size} bytes", {"Content-Range": f"bytes */{size}"})
    return "bytes=" + ",".join(inside)


def _keep_range(request: Request, wanted: str | None) -> None:
    """Replace the `Range` of a request; None removes it."""
    others = [(name, value) for name, value in request.scope["headers"] if name != b"range"]
    request.scope["headers"] = others + ([(b"range", wanted.encode())] if wanted else [])
