"""A searcher that many clients share: queries run in batches, uploads and look-ups within limits."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request

from mlcmr.data.ids import IMAGE_ENDINGS, VIDEO_ENDINGS
from mlcmr.extraction.media.images import UnknownFormatError, UnreadableFileError
from mlcmr.search.file_access import MediaFile
from mlcmr.search.filters import Filters
from mlcmr.search.hits import Hit
from mlcmr.search.http.batching import Batcher, TextQuery
from mlcmr.search.http.middleware import Overloaded, Slots, client_of
from mlcmr.search.http.prometheus import Metrics
from mlcmr.search.http.schemas import (
    Example,
    IndexAnswer,
    SearchAnswer,
    VideoAnswer,
    search_answer,
    video_answer,
)
from mlcmr.search.http.uploads import receive_upload, remove_leftovers
from mlcmr.search.searcher import Searcher
from mlcmr.settings import require_valid

Result = TypeVar("Result")
ACCEPTED = (
    f"pictures: {', '.join(ending[1:] for ending in sorted(IMAGE_ENDINGS))}; "
    f"videos and moving pictures: {', '.join(ending[1:] for ending in sorted(VIDEO_ENDINGS))}"
)
"""The formats of uploads, by file extension; the content of a file decides."""
_LOOKUPS = 8  # threads; a look-up takes milliseconds, or all of them hang
_log = logging.getLogger("uvicorn.error")


@dataclass(frozen=True)
class ServerLimits:
    """The limits of a server.

    Attributes:
        rate: The number of API requests per second and client, in the long run; 0 is no limit.
        waiting: The number of queries and look-ups that may wait; further ones are refused with status 503.
        uploads: The number of uploads at the same time. One client may have this number minus 1.
        upload_mb: The largest upload, in millions of bytes.
        seconds: The time limit for an upload, its search, a query or a look-up, and for a client to read a
            response.
        connections: The number of open connections per client; 0 is no limit. Behind a web server, all
            clients count as a single client.
    """

    rate: float = 20.0
    waiting: int = 256
    uploads: int = 4
    upload_mb: int = 200
    seconds: float = 60.0
    connections: int = 128

    def __post_init__(self) -> None:
        most = float("inf")
        require_valid(
            self,
            {
                "rate": (0, most),
                "waiting": (1, most),
                "uploads": (1, 64),
                "upload_mb": (1, 100_000),
                "seconds": (0.1, 3600),
                "connections": (0, 100_000),
            },
        )


class Service:
    """The service behind the routes.

    Args:
        searcher: The searcher.
        limits: The limits of the server.
        metrics: Counts batches.
    """

    def __init__(self, searcher: Searcher, limits: ServerLimits, metrics: Metrics) -> None:
        self.searcher = searcher
        self.limits = limits
        self.metrics = metrics
        self._batcher = Batcher(searcher, capacity=limits.waiting, on_batch=metrics.batch_size.observe)
        # Separate threads: if files hang, for example on a network drive, look-ups still work.
        self._lookups = _LookupThreads("lookups", limits)
        self._files = _LookupThreads("files", limits)
        self._uploads = Slots(limits.uploads, share=max(1, limits.uploads - 1))
        # A thread for each upload: a slow video keeps no other upload waiting.
        self._decoders = ThreadPoolExecutor(max_workers=limits.uploads, thread_name_prefix="uploads")
        self._closing = False
        self._description: tuple[int, IndexAnswer] | None = None  # with the version of the index
        remove_leftovers()

    def close(self) -> None:
        """End the threads."""
        self._closing = True
        self._batcher.close()
        self._lookups.close()
        self._files.close()
        self._decoders.shutdown(cancel_futures=True)

    @property
    def works(self) -> bool:
        """Return whether the thread for queries runs."""
        return self._batcher.works

    async def search(self, query: TextQuery) -> SearchAnswer:
        """Search by a text."""
        start = time.perf_counter()
        answer = self._batcher.submit(query)
        try:
            async with asyncio.timeout(self.limits.seconds):
                hits = await asyncio.wrap_future(answer)
        except TimeoutError:
            raise Overloaded from None
        return search_answer(hits, time.perf_counter() - start)

    async def search_upload(self, request: Request, k: int, filters: Filters | None) -> SearchAnswer:
        """Search by a picture or video in the body of a request."""
        start = time.perf_counter()
        seconds = self.limits.seconds
        client = client_of(request.client.host if request.client else "")
        self._uploads.take(client)
        try:
            file = await receive_upload(
                request, most_bytes=1_000_000 * self.limits.upload_mb, seconds=seconds
            )
            job = self._decoders.submit(self._search_file, file.name, k, filters)
        except BaseException:
            self._uploads.give(client)
            raise
        job.add_done_callback(lambda _: file.close())
        _give_when_done(self._uploads, job, client)
        try:
            async with asyncio.timeout(seconds):
                hits = await asyncio.wrap_future(job)
        except TimeoutError:
            raise HTTPException(
                422, f"reading the file took more than {seconds:g} s; send a shorter one"
            ) from None
        except UnknownFormatError as error:
            _log.info("upload refused: %s", error)
            raise HTTPException(415, f"the file is not a readable picture or video; {ACCEPTED}") from None
        except UnreadableFileError as error:
            _log.info("upload refused: %s", error)
            # The sender gets the reason, without the path on this machine and the advice for `extract`.
            why = str(error).removeprefix(f"{file.name}: ").replace(file.name, "the file").split("; ")[0]
            raise HTTPException(422, f"the file cannot be read as a picture or video: {why}") from None
        return search_answer(hits, time.perf_counter() - start)

    async def similar(self, video: str, segment: int, k: int, filters: Filters | None) -> SearchAnswer:
        """Search by an indexed segment."""
        start = time.perf_counter()
        hits = await self._lookups.do(lambda: self.searcher.similar(video, segment, k=k, filters=filters))
        return search_answer(hits, time.perf_counter() - start)

    async def media(self, video: str) -> MediaFile:
        """Open the file of an indexed video."""
        return await self._files.do(lambda: self.searcher.open_media(video))

    async def thumbnail(self, video: str, segment: int) -> MediaFile:
        """Open the thumbnail of a segment."""
        return await self._files.do(lambda: self.searcher.open_thumbnail(video, segment))

    async def video(self, video: str, captions: int) -> VideoAnswer:
        """Return an indexed video with the captions nearest to it."""
        return await self._lookups.do(
            lambda: video_answer(self.searcher.video(video), self.searcher.captions(video, k=captions))
        )

    async def index(self) -> IndexAnswer:
        """Describe the index, with queries to try."""
        return await self._lookups.do(self._index)

    def _index(self) -> IndexAnswer:
        searcher = self.searcher
        version = searcher.version
        if self._description is None or self._description[0] != version:
            answer = IndexAnswer(
                size=searcher.size,
                model=Path(searcher.model_name).name,
                languages=list(searcher.languages),
                search="exact" if searcher.exact else "HNSW",
                examples=self._examples(),
                largest_upload=1_000_000 * self.limits.upload_mb,
            )
            self._description = version, answer
        return self._description[1]

    def _examples(self) -> list[Example]:
        """Return captions of the index, to try as queries."""
        texts: dict[str, Example] = {}
        (hits,) = self.searcher.search_many(["video"], k=400)  # any query will do
        # Hits with similar scores are alike, so take some from the whole range.
        for number, hit in enumerate(hits[:: max(len(hits) // 8, 1)]):
            languages = self.searcher.known_languages or (None,)
            language = languages[number % len(languages)]
            for caption in self.searcher.captions(hit.video, k=1, language=language):
                texts.setdefault(caption.text, Example(language=caption.language, text=caption.text))
        return list(texts.values())[:6]

    def _search_file(self, path: str, k: int, filters: Filters | None) -> list[Hit]:
        end = time.monotonic() + self.limits.seconds

        def check_cancelled() -> None:
            if self._closing or time.monotonic() > end:
                raise TimeoutError

        return self.searcher.search_file(path, k=k, filters=filters, check_cancelled=check_cancelled)


class _LookupThreads:
    """Threads that look videos or files up in the index.

    Args:
        name: The name of the threads.
        limits: The limits of the server.
    """

    def __init__(self, name: str, limits: ServerLimits) -> None:
        self._slots = Slots(limits.waiting + _LOOKUPS)
        self._seconds = limits.seconds
        self._threads = ThreadPoolExecutor(max_workers=_LOOKUPS, thread_name_prefix=name)

    async def do(self, function: Callable[[], Result]) -> Result:
        """Call a function in a thread.

        Raises:
            Overloaded: If too many calls wait, or the call takes too long.
        """
        self._slots.take()
        job = self._threads.submit(function)
        _give_when_done(self._slots, job)
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.wrap_future(job)
        except TimeoutError:
            raise Overloaded from None

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)


def _give_when_done(slots: Slots, job: Future[Any], client: str = "") -> None:
    """Keep a slot until the thread is done, even if the client no longer waits."""
    loop = asyncio.get_running_loop()

    def give(_: object) -> None:
        with suppress(RuntimeError):  # the event loop has ended with the server
            loop.call_soon_threadsafe(slots.give, client)

    job.add_done_callback(give)
