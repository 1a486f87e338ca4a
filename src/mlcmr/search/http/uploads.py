"""The upload of a picture or video, streamed to a temporary file within limits."""

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

from mlcmr.errors import MissingDependencyError

try:
    import python_multipart  # noqa: F401
except ImportError as error:
    raise MissingDependencyError("the server needs python-multipart: pip install 'mlcmr[search]'") from error

_log = logging.getLogger("uvicorn.error")
# The sender of a malformed form gets an answer. A log line for each would let any client fill the log.
logging.getLogger("python_multipart").setLevel(logging.ERROR)
_FRAMING = 64 * 1024  # bytes of a multipart body around the file
_CHUNK = 1024 * 1024
_PREFIX = "mlcmr-upload-"


def remove_leftovers() -> None:
    """Remove the files of killed servers, whose locks no process holds."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                if os.fstat(handle).st_size:  # a server locks a new file before it writes
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
            finally:
                os.close(handle)


async def receive_upload(request: Request, *, most_bytes: int, seconds: float) -> IO[bytes]:
    """Stream the field `file` of a multipart form to a temporary file, removed when it is closed.

    Raises:
        HTTPException: If the upload fails. The status is 400 if the body breaks off or does not hold one
            file, 408 after the time limit, 413 if the file is too large, 415 if the body is not a form, 422
            if the form has no file, and 503 if the disk is full.
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
        return await _copy_to_named_file(upload, most_bytes)
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


async def _copy_to_named_file(upload: UploadFile, most_bytes: int) -> IO[bytes]:
    """Copy an upload to a named file, which decoders need."""
    if (upload.size or 0) > most_bytes:
        raise HTTPException(413, f"the file is larger than {most_bytes / 1e6:g} MB")
    suffix = Path(upload.filename or "").suffix.lower()
    suffix = suffix if suffix[1:].isascii() and suffix[1:].isalnum() and len(suffix) < 8 else ""
    file = tempfile.NamedTemporaryFile(prefix=_PREFIX, suffix=suffix)  # noqa: SIM115 – the caller closes it
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        while part := await upload.read(_CHUNK):
            await asyncio.to_thread(file.write, part)
        file.flush()
    except BaseException:
        file.close()
        raise
    return file
