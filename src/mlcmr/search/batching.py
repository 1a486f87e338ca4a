"""Queries that arrive together are encoded together."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Full, Queue

from mlcmr.errors import UserError
from mlcmr.search.filters import Filters
from mlcmr.search.limits import Overloaded
from mlcmr.search.searcher import Hit, Searcher, UnreadableQuery

_PATIENCE = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Query:
    """What one client asks."""

    text: str
    language: str | None
    k: int
    filters: Filters | None


_Waiting = tuple[Query, Future[list[Hit]]]


class Batcher:
    """A thread that answers, at each turn, all queries that have come since the last.

    Args:
        searcher: What answers.
        capacity: How many queries may wait.
        largest: How many queries are encoded at a time.
        on_batch: Told the size of each batch.
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

    def submit(self, query: Query) -> Future[list[Hit]]:
        """Puts a query in the queue; cancelling the future takes it out again.

        Raises:
            Overloaded: too many wait.
        """
        answer: Future[list[Hit]] = Future()
        try:
            self._waiting.put_nowait((query, answer))
        except Full:
            raise Overloaded from None
        return answer

    @property
    def works(self) -> bool:
        """Whether the thread is there."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Ends the thread after the queries that wait, if that is soon."""
        with suppress(Full):
            self._waiting.put(None, timeout=_PATIENCE)
        self._thread.join(_PATIENCE)

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
        """Answers queries; one that fails does not fail its neighbours, unless the index itself fails."""
        batch = [one for one in batch if self._is_readable(*one)]
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
        except BaseException as error:  # a panic of the engine is no Exception; the thread must outlive it
            if len(batch) == 1 or isinstance(error, UserError):
                failure = error if isinstance(error, Exception) else RuntimeError(repr(error))
                for _, answer in batch:
                    answer.set_exception(failure)
                return
            for one in batch:
                self._answer([one])
            return
        self._on_batch(len(batch))
        for (_, answer), hits in zip(batch, found, strict=True):
            answer.set_result(hits)

    def _is_readable(self, query: Query, answer: Future[list[Hit]]) -> bool:
        """Whether a query says anything to the model; if not, that is its answer."""
        try:
            self._searcher.require_readable(query.text, query.language)
        except UnreadableQuery as error:
            answer.set_exception(error)
            return False
        except BaseException:  # the search that follows fails at it too, and answers
            return True
        return True
