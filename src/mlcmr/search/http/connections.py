"""Limits of open connections: their number, and the time for a client to send and to receive."""

import asyncio
import json
from collections import Counter
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from mlcmr.search.http.middleware import client_of

MOST = 1900
"""The number of connections of all clients; from 2,000 on, uvicorn itself answers 503."""
HEAD_SECONDS = 10.0
"""Time limit for the head of a request, and for the rest of a body that is not read."""


class Connections:
    """The open connections of a server.

    If a new connection exceeds a limit, the oldest connection that waits for a request is closed. So
    half-sent requests block neither other clients nor other programs at the same address.

    Args:
        per_client: The number of connections per client; 0 is no limit.
        most: The number of connections of all clients together.
        head_seconds: The time limit for the head of a request.
        stall_seconds: The time limit for a client to continue reading a response.
    """

    def __init__(
        self,
        per_client: int,
        most: int = MOST,
        head_seconds: float = HEAD_SECONDS,
        stall_seconds: float = 60.0,
    ) -> None:
        self.head_seconds = head_seconds
        self.stall_seconds = stall_seconds
        self._per_client = per_client
        self._most = most
        self._open: dict[Guarded, str] = {}  # in the order in which they were opened
        self._counts: Counter[str] = Counter()

    def add(self, connection: "Guarded", client: str) -> str:
        """Count a connection; return why it must be refused, or nothing."""
        if self._per_client and self._counts[client] >= self._per_client:
            if not self._close_oldest(client):
                return "too many connections are open from this address"
        elif len(self._open) >= self._most and not self._close_oldest(None):
            return "too many connections of all clients are open"
        self._open[connection] = client
        self._counts[client] += 1
        return ""

    def remove(self, connection: "Guarded") -> None:
        """Forget a connection."""
        client = self._open.pop(connection, None)
        if client is not None:
            self._counts[client] -= 1
            if not self._counts[client]:
                del self._counts[client]

    def _close_oldest(self, client: str | None) -> bool:
        """Close the oldest connection that waits for a request; return False if there is none."""
        for connection, owner in self._open.items():
            if client in (None, owner) and not connection.is_answering:
                self.remove(connection)
                connection.transport.abort()
                return True
        return False


class Guarded(H11Protocol):
    """A connection that counts towards the limits, and is closed when its client is too slow.

    Args:
        connections: All connections of the server.
        rest: Further arguments of uvicorn.
    """

    def __init__(self, connections: Connections, **rest: Any) -> None:
        super().__init__(**rest)
        self._all = connections
        self._deadline: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None

    @property
    def is_answering(self) -> bool:
        """Return whether the response to a request is incomplete."""
        return self.cycle is not None and not self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, or refuse it."""
        super().connection_made(transport)
        if why := self._all.add(self, client_of(self.client[0] if self.client else "")):
            transport.write(_refusal(why))
            transport.close()
            return
        self._set_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._all.remove(self)
        self._unset_deadline()
        self._unset_stall()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read a part of a request; a time limit holds until its head is complete, and after the response."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.is_answering:
            self._unset_deadline()
        elif self._deadline is None:  # further parts do not extend the deadline
            self._set_deadline()

    def on_response_complete(self) -> None:
        """Remove the deadline until the next request begins: uvicorn itself closes idle connections."""
        self._unset_deadline()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Wait for the client to read, within the time limit."""
        super().pause_writing()
        self._unset_stall()
        self._stall = self.loop.call_later(self._all.stall_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Continue: the client has read most of the data."""
        self._unset_stall()
        super().resume_writing()

    def _set_deadline(self) -> None:
        self._deadline = self.loop.call_later(self._all.head_seconds, self.transport.abort)

    def _unset_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _unset_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None


def _refusal(why: str) -> bytes:
    """Return a complete response, since uvicorn has not read a request yet."""
    body = json.dumps({"error": why})
    head = (
        "HTTP/1.1 503 Service Unavailable",
        "content-type: application/json",
        "retry-after: 1",
        "connection: close",
        f"content-length: {len(body)}",
    )
    return "\r\n".join((*head, "", body)).encode()
