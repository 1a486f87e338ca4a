"""The HTTP API and the search page of a searcher."""

import logging
import math
import re
import time
import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as File
from typing import Annotated, Any
from urllib.parse import urlencode

from mlcmr import __version__
from mlcmr.errors import MissingDependencyError, MlcmrError
from mlcmr.text import printable

try:
    from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request, Security
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import FileResponse, JSONResponse, RedirectResponse, Response
    from fastapi.security import HTTPBearer
    from pydantic import AfterValidator, Field
    from pydantic_core import PydanticCustomError
    from starlette.exceptions import HTTPException

    from mlcmr.search.file_access import FileGone, NotHandedOut
    from mlcmr.search.filters import MAX_LENGTH, PATTERN, Filters
    from mlcmr.search.http.batching import TextQuery
    from mlcmr.search.http.media import Files, file_response
    from mlcmr.search.http.middleware import (
        COOKIE,
        Gate,
        RateLimiter,
        Unavailable,
        cookie_value,
        equals_secret,
    )
    from mlcmr.search.http.prometheus import Meter, Metrics
    from mlcmr.search.http.schemas import Error, HealthAnswer, IndexAnswer, SearchAnswer, VideoAnswer
    from mlcmr.search.http.service import ACCEPTED, ServerLimits, Service
    from mlcmr.search.indexing.checksums import DamagedIndex
    from mlcmr.search.opened_index import UnknownVideo
    from mlcmr.search.query_encoder import UnreadableQuery
    from mlcmr.search.searcher import Searcher
except ImportError as error:
    raise MissingDependencyError(f"the server needs {error.name}: pip install 'mlcmr[search]'") from error

_page = Files(directory=File(__file__).parent / "page")
_COOKIE_AGE = 30 * 24 * 3600
_CAPTIONS = 10  # in the response for a video
_WARNED_AGAIN = 60  # seconds until the log repeats a warning
_MOST_WARNINGS = 1000  # that are remembered
_log = logging.getLogger("uvicorn.error")


def create_app(
    searcher: Searcher, *, token: str | None = None, limits: ServerLimits | None = None
) -> FastAPI:
    """Return the application of a server.

    Args:
        searcher: The searcher; the caller closes it.
        token: The token that clients must send; without a token, only requests to a loopback name are
            answered.
        limits: The limits of the server; by default those of `ServerLimits`.
    """
    limits = limits or ServerLimits()
    metrics = Metrics()
    service = Service(searcher, limits, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    app = FastAPI(
        title="mlcmr",
        summary="Find videos with a sentence in any language.",
        version=__version__,
        openapi_url="/api/openapi.json",
        docs_url=None,  # the documentation pages of FastAPI load scripts from the network
        redoc_url=None,
        lifespan=lifespan,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    app.state.service = service
    app.state.token = token
    app.state.warn = _Warnings()
    app.include_router(_api)
    app.include_router(_files)
    app.include_router(_operation)
    app.mount("/page", _page, name="page")
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(UnknownVideo, _unknown)
    app.add_exception_handler(UnreadableQuery, _unreadable)
    app.add_exception_handler(NotHandedOut, _not_handed_out)
    app.add_exception_handler(FileGone, _gone)
    app.add_exception_handler(MlcmrError, _unavailable)
    app.add_exception_handler(Exception, _failed)
    app.add_middleware(Gate, token=token, rate=RateLimiter(limits.rate))
    app.add_middleware(Meter, metrics=metrics)
    return app


# ─── shared by routes ───────────────────────────────────────────────────────────────────────────────────


async def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _filters(
    conditions: Annotated[
        list[Annotated[str, Field(json_schema_extra={"pattern": PATTERN, "maxLength": MAX_LENGTH})]] | None,
        Query(
            alias="filter",
            max_length=8,
            description="Conditions that every hit meets: `duration`, `start`, `end` (seconds), `width`, "
            "`height` with `<` `<=` `>` `>=` `=`; `kind=video`, `kind=image`, `video=<id>`, `path~<part>`.",
            examples=[["duration<60", "kind=video"]],
        ),
    ] = None,
) -> Filters | None:
    try:
        return Filters.parse(conditions) if conditions else None
    except MlcmrError as error:
        raise HTTPException(422, str(error)) from None


def _sentence(text: str) -> str:
    """Return a text without control characters."""
    printable = "".join(
        " " if unicodedata.category(character) == "Cc" else character for character in text
    ).strip()
    if not printable:
        raise PydanticCustomError("blank", "blank; say what to look for")
    return printable


def _language(language: str) -> str:
    """Check that a word has the form of a language code or name."""
    if not _LANGUAGE.fullmatch(language):
        raise PydanticCustomError(
            "language", "expected an ISO 639 code, such as zh, or an English name, such as Chinese"
        )
    return language


def _errors(**meanings: str) -> dict[int | str, dict[str, Any]]:
    return {int(status[1:]): {"model": Error, "description": text} for status, text in meanings.items()}


TheService = Annotated[Service, Depends(_service)]
TheFilters = Annotated[Filters | None, Depends(_filters)]
K = Annotated[int, Query(ge=1, le=100, description="How many hits.")]
_REST = "([-_][A-Za-z0-9]{1,8}){0,3}"
_LANGUAGE = re.compile(f"[A-Za-z]{{2,12}}{_REST}")
Language = Annotated[
    str,
    # The description has the codes only: a pattern with all names would be too long.
    Field(json_schema_extra={"pattern": f"^([A-Za-z]{{2}}|[A-Za-z]{{2}}[ABD-Zabd-z]){_REST}$"}),
    AfterValidator(_language),
]
VideoId = Annotated[str, Path(max_length=512, description="The video's id in the index.", examples=["cat01"])]
SegmentNumber = Annotated[int, Path(ge=0, lt=2**31, description="The segment's number, from 0.")]

_ALWAYS = _errors(
    _401="No token, or a wrong one.",
    _421="Without a token: a host name other than loopback.",
    _422="A parameter is out of its limits.",
    _429="This client asks too often; `Retry-After` says when again.",
    _503="The server is busy, or its index cannot be searched; `Retry-After` says when again.",
)
_NOT_FOUND = _errors(_404="Not in the index.")
_A_FILE = (
    _NOT_FOUND
    | _errors(_403="The index names a file that is not handed out.")
    | {304: {"description": "The file is unchanged: it still has the `ETag` of `If-None-Match`."}}
)
_token = [Security(HTTPBearer(auto_error=False, description="The token, if the server requires a token."))]
_api = APIRouter(prefix="/api", tags=["search"], responses=_ALWAYS, dependencies=_token)
_files = APIRouter(tags=["files"], responses=_ALWAYS, dependencies=_token)
_operation = APIRouter(tags=["operation"])


# ─── search ──────────────────────────────────────────────────────────────────────────────────────────────


@_api.get("/search")
async def search(
    service: TheService,
    filters: TheFilters,
    q: Annotated[
        str,
        Query(
            max_length=1000,
            description="A sentence.",
            examples=["a cat sleeps", "一只猫在睡觉"],
            json_schema_extra={"pattern": r"[^\s\x00-\x1f\x7f-\x9f]"},
        ),
        AfterValidator(_sentence),
    ],
    language: Annotated[
        Language | None,
        Query(
            description="The sentence's language, by its ISO 639 code or English name; by default guessed "
            "from its script.",
            examples=["zh"],
        ),
    ] = None,
    k: K = 10,
) -> SearchAnswer:
    """Find the segments of videos that a sentence describes."""
    try:
        code = service.searcher.language_of(q, language) if language else None
    except MlcmrError as error:
        raise HTTPException(422, f"language: {error}") from None
    return await service.search(TextQuery(q, code, k, filters))


_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": f"A picture or video, whatever its name; {ACCEPTED}.",
                        }
                    },
                }
            }
        },
    }
}


@_api.post(
    "/search",
    openapi_extra=_UPLOAD,
    responses=_errors(
        _400="The body broke off, or is no form with one file.",
        _408="The upload took too long.",
        _413="The file is too large.",
        _415="Not a form, or its file no picture or video that can be read.",
    ),
)
async def search_upload(
    request: Request, service: TheService, filters: TheFilters, k: K = 10
) -> SearchAnswer:
    """Find the segments of videos that look like an uploaded picture or video."""
    return await service.search_upload(request, k, filters)


@_api.get("/similar/{video:path}", responses=_NOT_FOUND)
async def similar(
    service: TheService,
    filters: TheFilters,
    video: VideoId,
    segment: Annotated[int, Query(ge=0, lt=2**31, description="The segment's number, from 0.")] = 0,
    k: K = 10,
) -> SearchAnswer:
    """Find the segments of other videos that look like a segment of an indexed video."""
    return await service.similar(video, segment, k, filters)


@_api.get("/videos/{video:path}", responses=_NOT_FOUND)
async def get_video(service: TheService, video: VideoId) -> VideoAnswer:
    """Return all segments of an indexed video, and the captions nearest to it."""
    return await service.video(video, _CAPTIONS)


@_api.get("/index")
async def get_index(service: TheService) -> IndexAnswer:
    """Describe the index: its size, its model, and queries to try."""
    return await service.index()


@_api.post("/session", status_code=204)
async def enter(request: Request) -> Response:
    """Give a browser that sends the token a cookie, which it sends instead from then on."""
    response = Response(status_code=204)
    _set_cookie(request, response)
    return response


# ─── files ───────────────────────────────────────────────────────────────────────────────────────────────


@_files.get(
    "/media/{video:path}",
    response_class=FileResponse,
    responses=_A_FILE
    | {206: {"description": "The range of bytes asked for."}}
    | _errors(_400="A malformed `Range`.", _416="A `Range` outside the file."),
)
async def get_media(request: Request, service: TheService, video: VideoId) -> Response:
    """Send an indexed file, whole or a range of its bytes."""
    return file_response(await service.media(video), request)


@_files.get("/thumbnails/{video:path}/{segment}", response_class=FileResponse, responses=_A_FILE)
async def get_thumbnail(
    request: Request, service: TheService, video: VideoId, segment: SegmentNumber
) -> Response:
    """Send the picture of a segment."""
    return file_response(await service.thumbnail(video, segment), request)


_files.add_api_route("/media/{video:path}", get_media, methods=["HEAD"], include_in_schema=False)
_files.add_api_route(
    "/thumbnails/{video:path}/{segment}", get_thumbnail, methods=["HEAD"], include_in_schema=False
)


# ─── operation and page ──────────────────────────────────────────────────────────────────────────────────


@_operation.get("/health", responses=_errors(_503="Queries are not answered; start the server again."))
async def health(service: TheService) -> HealthAnswer:
    """Check that the server answers queries; needs no token."""
    if not service.works:
        raise Unavailable
    return HealthAnswer()


_operation.add_api_route("/health", health, methods=["HEAD"], include_in_schema=False)


@_operation.get("/metrics", response_class=Response, dependencies=_token, responses=_errors(_401="No token."))
async def metrics(service: TheService) -> Response:
    """Send the counters in Prometheus' format."""
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@_operation.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
async def page(request: Request) -> Response:
    """Send the page; `?token=…` is exchanged for a cookie and removed from the address."""
    shown = request.query_params.get("token")
    if shown is None:
        return await _page.get_response("index.html", request.scope)
    rest = [(name, value) for name, value in request.query_params.multi_items() if name != "token"]
    response = RedirectResponse(f"./?{urlencode(rest)}" if rest else "./", status_code=303)
    if request.app.state.token and equals_secret(shown, request.app.state.token):
        _set_cookie(request, response)
    return response


@_operation.api_route("/favicon.ico", methods=["GET", "HEAD"], include_in_schema=False)
async def icon(request: Request) -> Response:
    """Send the icon of the page."""
    return await _page.get_response("icon.svg", request.scope)


def _set_cookie(request: Request, response: Response) -> None:
    if request.app.state.token:
        response.set_cookie(
            COOKIE,
            cookie_value(request.app.state.token),
            max_age=_COOKIE_AGE,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )


# ─── errors ──────────────────────────────────────────────────────────────────────────────────────────────


def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = first["loc"][1] if len(first["loc"]) > 1 else "request"
    return JSONResponse({"error": f"{where}: {first['msg']}"}, 422)


def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def _unknown(*_: object) -> JSONResponse:
    return JSONResponse({"error": "no such video, or segment of it, in the index"}, 404)


class _Warnings:
    """Write warnings to the log, each one once a minute at most: pages repeat requests that are refused."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def __call__(self, message: str) -> None:
        now = time.monotonic()
        if now - self._last.get(message, -math.inf) < _WARNED_AGAIN:
            return
        if len(self._last) >= _MOST_WARNINGS:
            self._last.clear()
        self._last[message] = now
        _log.warning("%s", message)


def _not_handed_out(request: Request, error: Exception) -> JSONResponse:
    request.app.state.warn(f"not handed out: {printable(str(error))}")
    return JSONResponse({"error": "the file is not handed out; the server's log says why"}, 403)


def _gone(*_: object) -> JSONResponse:
    return JSONResponse({"error": "the file is no longer where it was when it was indexed"}, 404)


def _unreadable(*_: object) -> JSONResponse:
    return JSONResponse({"error": "q: nothing in it that the model can read; say what to look for"}, 422)


def _unavailable(request: Request, error: Exception) -> JSONResponse:
    """Return the response to a valid request if the index or the model fails."""
    _log.warning("cannot answer: %s", error)
    return _refused(request, Unavailable(is_damaged=isinstance(error, DamagedIndex)))


def _failed(*_: object) -> JSONResponse:
    """Return the response after an unexpected error; the log of the server has the details."""
    return JSONResponse({"error": "internal error"}, 500)
