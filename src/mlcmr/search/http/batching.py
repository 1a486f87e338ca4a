"""A queue of queries that are encoded in batches."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Full, Queue

from mlcmr.errors import MlcmrError
from mlcmr.search.filters import Filters
from mlcmr.search.hits import Hit
from mlcmr.search.http.middleware import Overloaded
from mlcmr.search.query_encoder import UnreadableQuery
from mlcmr.search.searcher import Searcher

_CLOSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class TextQuery:
    """A query of a client."""

    text: str
    language: str | None
    k: int
    filters: Filters | None


_Waiting = tuple[TextQuery, Future[list[Hit]]]


class Batcher:
    """A thread that answers all waiting queries in one batch, again and again.

    Args:
        searcher: The searcher.
        capacity: The number of queries that may wait.
        largest: The largest batch.
        on_batch: Called with the size of each batch.
    """

    def __init__(
        self,
        searcher: Searcher,
        *,
        capacity: int = 256,
        largest: int = 64,
        on_batch: Callable[[int], object] = lambda _: None,
    ) -> None:
        self._searcher = searcher
        self._largest = largest
        self._on_batch = on_batch
        self._waiting: Queue[_Waiting | None] = Queue(capacity)
        self._thread = threading.Thread(target=self._work, name="queries", daemon=True)
        self._thread.start()

    def submit(self, query: TextQuery) -> Future[list[Hit]]:
        """Put a query in the queue; cancelling the future removes the query.

        Raises:
            Overloaded: If too many queries wait.
        """
        answer: Future[list[Hit]] = Future()
        try:
            self._waiting.put_nowait((query, answer))
        except Full:
            raise Overloaded from None
        return answer

    @property
    def works(self) -> bool:
        """Return whether the thread runs."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End the thread after the waiting queries, but wait no longer than some seconds."""
        with suppress(Full):
            self._waiting.put(None, timeout=_CLOSE_SECONDS)
        self._thread.join(_CLOSE_SECONDS)

    def _work(self) -> None:
        while (following := self._waiting.get()) is not None:
            batch: list[_Waiting] = []
            while following is not None:
                if following[1].set_running_or_notify_cancel():
                    batch.append(following)
                if len(batch) == self._largest:
                    break
                try:
                    following = self._waiting.get_nowait()
                except Empty:
                    break
            if batch:
                self._answer(batch)
            if following is None:
                return

    def _answer(self, batch: Sequence[_Waiting]) -> None:
        """Answer queries. A query that fails does not fail others, unless the index itself fails."""
        batch = [waiting for waiting in batch if self._is_readable(*waiting)]
        if not batch:
            return
        queries = [query for query, _ in batch]
        try:
            found = self._searcher.search_many(
                [query.text for query in queries],
                languages=[query.language for query in queries],
                k=[query.k for query in queries],
                filters=[query.filters for query in queries],
            )
        except (
            BaseException
        ) as error:  # a panic of the engine is not an Exception; the thread must survive it
            if len(batch) == 1 or isinstance(error, MlcmrError):
                failure = error if isinstance(error, Exception) else RuntimeError(repr(error))
                for _, answer in batch:
                    answer.set_exception(failure)
                return
            for waiting in batch:
                self._answer([waiting])
            return
        self._on_batch(len(batch))
        for (_, answer), hits in zip(batch, found, strict=True):
            answer.set_result(hits)

    def _is_readable(self, query: TextQuery, answer: Future[list[Hit]]) -> bool:
        """Return whether the model can read a query; if not, answer it with an error."""
        try:
            self._searcher.require_readable(query.text, query.language)
        except UnreadableQuery as error:
            answer.set_exception(error)
            return False
        except BaseException:  # the search that follows fails in the same way, and reports the error
            return True
        return True
