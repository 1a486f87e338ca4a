"""A searcher that many clients share: their queries in batches, their uploads and look-ups within limits."""

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

from mlcmr.config import require_within
from mlcmr.extraction.pictures import UnreadableFileError
from mlcmr.search.answers import (
    Example,
    IndexAnswer,
    SearchAnswer,
    VideoAnswer,
    search_answer,
    video_answer,
)
from mlcmr.search.batching import Batcher, Query
from mlcmr.search.filters import Filters
from mlcmr.search.limits import Overloaded, Slots
from mlcmr.search.metrics import Metrics
from mlcmr.search.searcher import Hit, Searcher
from mlcmr.search.uploads import receive_upload, remove_leftovers

Result = TypeVar("Result")
_LOOKUPS = 8  # threads; what they do takes milliseconds, or hangs together
_log = logging.getLogger("uvicorn.error")


@dataclass(frozen=True)
class Limits:
    """How much the server does for its clients.

    Attributes:
        rate: Requests to the API per second and client, in the long run; 0 is no limit.
        waiting: Queries, look-ups of videos and look-ups of files that may wait; more are refused with 503.
        uploads: Uploads that are received or searched for at a time.
        upload_mb: The largest upload, in millions of bytes.
        seconds: How long an upload, its search, a query or a look-up may take.
    """

    rate: float = 20.0
    waiting: int = 256
    uploads: int = 4
    upload_mb: int = 200
    seconds: float = 60.0

    def __post_init__(self) -> None:
        most = float("inf")
        require_within(
            self,
            {
                "rate": (0, most),
                "waiting": (1, most),
                "uploads": (1, 64),
                "upload_mb": (1, 100_000),
                "seconds": (0.1, 3600),
            },
        )


class Service:
    """What the routes call.

    Args:
        searcher: What finds.
        limits: How much is done at a time.
        metrics: Told of batches.
    """

    def __init__(self, searcher: Searcher, limits: Limits, metrics: Metrics) -> None:
        self.searcher = searcher
        self.limits = limits
        self.metrics = metrics
        self._batcher = Batcher(searcher, capacity=limits.waiting, on_batch=metrics.batch_size.observe)
        # Threads of their own: in those that read files, look-ups that hang would stop the page too.
        self._lookups = _Crew("lookups", limits)
        self._files = _Crew("files", limits)
        self._uploads = Slots(limits.uploads)
        # One for each: a video that takes long to decode keeps nobody else waiting.
        self._decoders = ThreadPoolExecutor(max_workers=limits.uploads, thread_name_prefix="uploads")
        self._closing = False
        self._about: tuple[int, IndexAnswer] | None = None  # of which version
        remove_leftovers()

    def close(self) -> None:
        """Ends the threads."""
        self._closing = True
        self._batcher.close()
        self._lookups.close()
        self._files.close()
        self._decoders.shutdown(cancel_futures=True)

    @property
    def works(self) -> bool:
        """Whether queries are answered."""
        return self._batcher.works

    async def search(self, query: Query) -> SearchAnswer:
        """Answers a text."""
        start = time.perf_counter()
        answer = self._batcher.submit(query)
        try:
            async with asyncio.timeout(self.limits.seconds):
                hits = await asyncio.wrap_future(answer)
        except TimeoutError:
            raise Overloaded from None
        return search_answer(hits, time.perf_counter() - start)

    async def search_upload(self, request: Request, k: int, filters: Filters | None) -> SearchAnswer:
        """Answers a picture or video in a request's body."""
        start = time.perf_counter()
        seconds = self.limits.seconds
        self._uploads.take()
        try:
            file = await receive_upload(
                request, most_bytes=1_000_000 * self.limits.upload_mb, seconds=seconds
            )
            job = self._decoders.submit(self._search_file, file.name, k, filters)
        except BaseException:
            self._uploads.give()
            raise
        job.add_done_callback(lambda _: file.close())
        _give_when_done(self._uploads, job)
        try:
            async with asyncio.timeout(seconds):
                hits = await asyncio.shield(asyncio.wrap_future(job))
        except TimeoutError:
            raise HTTPException(
                422, f"reading the file took more than {seconds:g} s; send a shorter one"
            ) from None
        except UnreadableFileError as error:
            _log.info("upload refused: %s", error)
            raise HTTPException(422, "the file cannot be read as a picture or video") from None
        return search_answer(hits, time.perf_counter() - start)

    async def similar(self, video: str, segment: int, k: int, filters: Filters | None) -> SearchAnswer:
        """Answers an indexed segment."""
        start = time.perf_counter()
        hits = await self._lookups.do(lambda: self.searcher.similar(video, segment, k=k, filters=filters))
        return search_answer(hits, time.perf_counter() - start)

    async def segment(self, video: str, segment: int) -> Hit:
        """One segment of an indexed video."""
        return await self._files.do(lambda: self.searcher.segment(video, segment))

    async def video(self, video: str, captions: int) -> VideoAnswer:
        """An indexed video, and so many of the captions nearest to it."""
        return await self._lookups.do(
            lambda: video_answer(self.searcher.video(video), self.searcher.captions(video, k=captions))
        )

    async def index(self) -> IndexAnswer:
        """What is served, and queries to try."""
        return await self._lookups.do(self._index)

    def _index(self) -> IndexAnswer:
        searcher = self.searcher
        version = searcher.version
        if self._about is None or self._about[0] != version:
            answer = IndexAnswer(
                size=searcher.size,
                model=Path(searcher.model_name).name,
                languages=list(searcher.languages),
                search="exact" if searcher.exact else "HNSW",
                examples=self._examples(),
                largest_upload=1_000_000 * self.limits.upload_mb,
            )
            self._about = version, answer
        return self._about[1]

    def _examples(self) -> list[Example]:
        """Captions of the index, to try as queries."""
        texts: dict[str, Example] = {}
        (hits,) = self.searcher.search_many(["video"], k=400)  # whether or not the model knows the word
        # From near and far: hits that follow each other are alike.
        for number, hit in enumerate(hits[:: max(len(hits) // 8, 1)]):
            languages = self.searcher.known_languages or (None,)
            language = languages[number % len(languages)]
            for caption in self.searcher.captions(hit.video, k=1, language=language):
                texts.setdefault(caption.text, Example(language=caption.language, text=caption.text))
        return list(texts.values())[:6]

    def _search_file(self, path: str, k: int, filters: Filters | None) -> list[Hit]:
        end = time.monotonic() + self.limits.seconds

        def check() -> None:
            if self._closing or time.monotonic() > end:
                raise TimeoutError

        return self.searcher.search_file(path, k=k, filters=filters, check=check)


class _Crew:
    """Threads that look something up in the index.

    Args:
        name: What is looked up.
        limits: How much may wait for a thread, and how long.
    """

    def __init__(self, name: str, limits: Limits) -> None:
        self._slots = Slots(limits.waiting + _LOOKUPS)
        self._seconds = limits.seconds
        self._threads = ThreadPoolExecutor(max_workers=_LOOKUPS, thread_name_prefix=name)

    async def do(self, function: Callable[[], Result]) -> Result:
        """Calls a function in a thread.

        Raises:
            Overloaded: too much waits, or it takes too long.
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
        """Ends the threads."""
        self._threads.shutdown(cancel_futures=True)


def _give_when_done(slots: Slots, job: Future[Any]) -> None:
    """Keeps a slot until the thread is done, even when nobody waits for it any longer."""
    loop = asyncio.get_running_loop()

    def give(_: object) -> None:
        with suppress(RuntimeError):  # the loop has ended with the server
            loop.call_soon_threadsafe(slots.give)

    job.add_done_callback(give)
