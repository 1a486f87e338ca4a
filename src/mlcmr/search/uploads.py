"""An uploaded picture or video, streamed to a file on disk and no further than allowed."""

import asyncio
import fcntl
import logging
import os
import tempfile
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from typing import IO

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from mlcmr.errors import UserError

try:
    import python_multipart  # noqa: F401
except ImportError as error:
    raise UserError("the server needs python-multipart: pip install 'mlcmr[search]'") from error

_log = logging.getLogger("uvicorn.error")
_FRAMING = 64 * 1024  # bytes of a multipart body that are not the file
_CHUNK = 1024 * 1024
_PREFIX = "mlcmr-upload-"

# FFmpeg also reads play lists and scripts that name other files and addresses. Nothing is handed to it that
# does not begin as a container or picture with the frames inside: (offset, bytes).
_SIGNATURES = (
    (0, b"\xff\xd8\xff"),  # JPEG
    (0, b"\x89PNG\r\n\x1a\n"),
    (0, b"GIF8"),
    (0, b"BM"),
    (0, b"II*\x00"),  # TIFF
    (0, b"MM\x00*"),
    (0, b"RIFF"),  # AVI, WebP
    (4, b"ftyp"),  # MP4, MOV, HEIC, AVIF
    (4, b"moov"),
    (4, b"mdat"),
    (4, b"wide"),
    (4, b"free"),
    (4, b"skip"),
    (0, b"\x1aE\xdf\xa3"),  # Matroska, WebM
    (0, b"OggS"),
    (0, b"FLV\x01"),
    (0, b"0&\xb2u\x8ef\xcf\x11"),  # ASF, WMV
    (0, b"\x00\x00\x01\xba"),  # MPEG
    (0, b"\x00\x00\x01\xb3"),
    (0, b"G@"),  # MPEG transport stream
    (4, b"G@"),
)


def remove_leftovers() -> None:
    """Removes the files of servers that were killed: nobody holds their locks any more."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if os.fstat(handle).st_size:  # else somebody has just made it, and locks it before he writes
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
            finally:
                os.close(handle)


async def receive_upload(request: Request, *, most_bytes: int, seconds: float) -> IO[bytes]:
    """Streams the field `file` of a multipart form to a temporary file, which goes when it is closed.

    Raises:
        HTTPException: 400 for a body that breaks off or is no form with one file, 408, 413, 415 for something
            that is not a picture or video, 422 for a form without a file, 503 where the disk is full.
    """
    try:
        return await _receive(request, most_bytes=most_bytes, seconds=seconds)
    except OSError as error:
        _log.warning("an upload cannot be kept in %s: %s", tempfile.gettempdir(), error)
        raise HTTPException(
            503, "the server has no room for the file; try again later", {"Retry-After": "60"}
        ) from None


async def _receive(request: Request, *, most_bytes: int, seconds: float) -> IO[bytes]:
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise HTTPException(415, "expected multipart/form-data with a field called file")
    try:
        async with asyncio.timeout(seconds):
            body = _limited(request, most_bytes + _FRAMING)
            form = await MultiPartParser(request.headers, body, max_files=1, max_fields=8).parse()
    except TimeoutError:
        raise HTTPException(408, f"the upload took more than {seconds:g} s") from None
    except (MultiPartException, ClientDisconnect, UnicodeError):
        raise HTTPException(400, "expected a multipart form with one file, or the upload broke off") from None
    try:
        upload = form.get("file")
        if not isinstance(upload, UploadFile):
            raise HTTPException(422, "file: no such field in the form, or it is not a file")
        return await _keep(upload, most_bytes)
    finally:
        await form.close()


async def _limited(request: Request, most_bytes: int) -> AsyncGenerator[bytes, None]:
    message = f"the file is larger than {(most_bytes - _FRAMING) / 1e6:g} MB"
    with suppress(ValueError):
        if int(request.headers.get("content-length", "0")) > most_bytes:
            raise HTTPException(413, message)
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most_bytes:
            raise HTTPException(413, message)
        yield chunk


async def _keep(upload: UploadFile, most_bytes: int) -> IO[bytes]:
    """Copies an upload to a file with a name, which decoders need."""
    head = await upload.read(16)
    if not any(head[at : at + len(signature)] == signature for at, signature in _SIGNATURES):
        raise HTTPException(415, "the file is no picture or video of a known kind")
    if (upload.size or 0) > most_bytes:
        raise HTTPException(413, f"the file is larger than {most_bytes / 1e6:g} MB")
    suffix = Path(upload.filename or "").suffix.lower()
    suffix = suffix if suffix[1:].isascii() and suffix[1:].isalnum() and len(suffix) < 8 else ""
    file = tempfile.NamedTemporaryFile(prefix=_PREFIX, suffix=suffix)  # noqa: SIM115 – the caller closes it
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        while head:
            await asyncio.to_thread(file.write, head)
            head = await upload.read(_CHUNK)
        file.flush()
    except BaseException:
        file.close()
        raise
    return file
