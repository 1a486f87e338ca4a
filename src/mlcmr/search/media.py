"""Indexed files, whole or by byte ranges."""

import os
import re
import stat
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

# A table of our own: what Python knows depends on the machine, and takes `.ts` and `.3gp` for something else.
_TYPES = {
    f".{ending}": media_type
    for media_type, endings in {
        "image/apng": "apng",
        "image/avif": "avif",
        "image/bmp": "bmp",
        "image/gif": "gif",
        "image/jp2": "j2k jp2",
        "image/jpeg": "jfif jpe jpeg jpg",
        "image/jpx": "jpf jpx",
        "image/png": "png",
        "image/tiff": "tif tiff",
        "image/webp": "webp",
        "video/3gpp": "3gp 3gpp",
        "video/3gpp2": "3g2",
        "video/mj2": "mj2",
        "video/mp2t": "m2t m2ts mts ts",
        "video/mp4": "f4v ismv m4v mp4 mpeg4",
        "video/mpeg": "evo m1v m2p m2v mod mpe mpeg mpg mpv tod vob",
        "video/ogg": "ogg ogm ogv",
        "video/quicktime": "mov qt",
        "video/webm": "webm",
        "video/x-dv": "dv",
        "video/x-flv": "flv",
        "video/x-matroska": "mk3d mkv",
        "video/x-ms-asf": "asf",
        "video/x-ms-wmv": "wmv",
        "video/x-msvideo": "avi divx",
    }.items()
    for ending in endings.split()
}
_PART = r"(\d{1,18}-\d{0,18}|-\d{1,18})"
_PARTS = re.compile(rf"\s*{_PART}(\s*,\s*{_PART})*\s*", re.ASCII)
# A media file is shown inside a page or saved; opened by itself it can do nothing.
_POLICY = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"


class Files(StaticFiles):
    """Files that browsers keep, and never show again without asking whether they have changed."""

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """The file, or 304 for who has it."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["Cache-Control"] = "private, no-cache"
        return response


def media_type(path: str) -> str:
    """What browsers call a file, by the ending of its name."""
    return _TYPES.get(Path(path).suffix.lower(), "application/octet-stream")


def file_response(path: str, request: Request) -> Response:
    """The answer with a file that the index names: what is asked of it, or 304 for who has it.

    Raises:
        HTTPException: 404 when the file is no longer there, 400 for a malformed range, 416 for one outside.
    """
    try:
        information = Path(path).stat()
    except OSError:
        information = None
    if information is None or not stat.S_ISREG(information.st_mode) or not os.access(path, os.R_OK):
        raise HTTPException(404, "the file is no longer where it was when it was indexed")
    response = Files().file_response(path, information, request.scope)
    response.headers["Content-Security-Policy"] = _POLICY  # of 304 too, which replaces what was kept
    if isinstance(response, NotModifiedResponse):
        return response
    response.headers["Content-Type"] = media_type(path)
    unchanged = (None, response.headers["ETag"], response.headers["Last-Modified"])
    if request.headers.get("If-Range") in unchanged and (wanted := request.headers.get("Range")) is not None:
        _keep_range(request, _satisfiable(wanted, information.st_size))
    return response


def _satisfiable(wanted: str, size: int) -> str | None:
    """The parts of a `Range` that the file has; none where it counts in something other than bytes.

    Starlette would answer some with plain text, and refuse all for one part outside.
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
    """Leaves of the request's `Range` what the response is to read."""
    others = [one for one in request.scope["headers"] if one[0] != b"range"]
    request.scope["headers"] = others + ([(b"range", wanted.encode())] if wanted else [])
