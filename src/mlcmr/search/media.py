"""Indexed files, whole or by byte ranges."""

import mimetypes
import os
import re
import stat
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse

_RANGES = re.compile(
    r"bytes=\s*(\d{1,18}-\d{0,18}|-\d{1,18})(\s*,\s*(\d{1,18}-\d{0,18}|-\d{1,18}))*\s*", re.ASCII
)
# A media file is shown inside a page or saved; opened by itself it can do nothing.
_POLICY = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox"


def file_response(path: str, wanted: str | None) -> FileResponse:
    """The answer with a file that the index names.

    Args:
        path: The file.
        wanted: The request's `Range` header.

    Raises:
        HTTPException: 404 when the file is no longer there, 400 for a malformed range, 416 for one outside.
    """
    try:
        information = Path(path).stat()
    except OSError:
        information = None
    if information is None or not stat.S_ISREG(information.st_mode) or not os.access(path, os.R_OK):
        raise HTTPException(404, "the file is no longer where it was when it was indexed")
    if wanted is not None:
        _check(wanted, information.st_size)
    kind = mimetypes.guess_type(path)[0] or ""
    return FileResponse(
        path,
        media_type=kind if kind.startswith(("video/", "image/")) else "application/octet-stream",
        headers={"Content-Security-Policy": _POLICY, "Cache-Control": "private, max-age=600"},
        stat_result=information,
    )


def _check(wanted: str, size: int) -> None:
    """Refuses what Starlette would answer with plain text or ignore."""
    if not _RANGES.fullmatch(wanted):
        raise HTTPException(400, "Range: expected bytes=<first>-<last>")
    for part in wanted.removeprefix("bytes=").split(","):
        first, _, last = part.strip().partition("-")
        if first and last and int(last) < int(first):
            raise HTTPException(400, "Range: expected bytes=<first>-<last>")
        if int(first) >= size if first else int(last) == 0 or size == 0:
            raise HTTPException(
                416, f"Range: the file has {size} bytes", {"Content-Range": f"bytes */{size}"}
            )
