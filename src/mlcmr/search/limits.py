"""What stands before every request: who may ask, how often, how much at a time; and answers' headers."""

import hashlib
import hmac
import ipaddress
import math
import time
from asyncio import CancelledError
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "mlcmr"
_MOST_CLIENTS = 10_000  # whose rate is remembered at a time

_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; media-src 'self' blob:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _PAGE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


class Overloaded(HTTPException):
    """More at a time than the server can answer: 503, and when to try again."""

    def __init__(self, seconds: int = 1) -> None:
        super().__init__(503, "the server is busy; try again in a moment", {"Retry-After": str(seconds)})


class Unavailable(HTTPException):
    """The index does not answer: 503, and when to try again; the log says why."""

    def __init__(self, seconds: int = 10) -> None:
        message = "the index cannot be searched at the moment; the server's log says why"
        super().__init__(503, message, {"Retry-After": str(seconds)})


class Slots:
    """How many requests of one kind are worked on at a time; one more is refused at once."""

    def __init__(self, most: int) -> None:
        self._free = most

    def take(self) -> None:
        """Takes a slot; `give` returns it. Only from the event loop's thread.

        Raises:
            Overloaded: all are taken.
        """
        if self._free == 0:
            raise Overloaded
        self._free -= 1

    def give(self) -> None:
        """Returns a slot."""
        self._free += 1


class Rate:
    """A token bucket for each client.

    Args:
        per_second: Requests a second in the long run; 0 is no limit.
        clock: Seconds.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = max(1.0, 3 * per_second)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str, take: int = 1) -> int:
        """Takes one request from the client's bucket; the seconds to wait when it is empty, else 0.

        With `take=0` it only looks.
        """
        if not self._per_second:
            return 0
        now = self._clock()
        left, before = self._buckets.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - before) * self._per_second)
        allowed = left >= 1
        self._buckets[client] = (left - take * allowed, now)
        if len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return 0 if allowed else math.ceil((1 - left) / self._per_second)


class Gate:
    """The middleware that asks for the token, holds clients to their rate and adds security headers.

    Args:
        app: What it stands before.
        token: What a client must show; None asks for nothing, and then only requests that name this machine
            itself are answered, so that no web site can reach the server through a visitor's browser.
        rate: How often a client may call the API.
    """

    def __init__(self, app: ASGIApp, token: str | None, rate: Rate) -> None:
        self._app = app
        self._token = token
        self._rate = rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers itself what it refuses, passes on the rest."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return

        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        if not scope["path"].startswith("/media/"):  # other files are small, and come whole
            scope["headers"] = [one for one in scope["headers"] if one[0] != b"range"]
        refusal = self._refusal(scope)
        try:
            await (refusal or self._app)(scope, receive, send_with_headers)
        except CancelledError:  # the server ends, and waits for this one no longer
            if not begun:
                await _error(503, "the server is shutting down")(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        path, headers = scope["path"], Headers(scope=scope)
        if self._token is None and not is_loopback(_host(headers.get("host", ""))):
            return _error(
                421, "without a token the server answers to its loopback name only, such as localhost"
            )
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not _is_visit(path, headers):
            return _error(403, "pages of other sites get no answer; links to the page itself work")
        client, right = _client(scope), self._has_cookie(headers)
        seconds = self._rate.wait(client) if path.startswith("/api/") else 0
        if not right and self._token is not None and (given := _given(scope, headers)) is not None:
            right = is_same(given, self._token)
            # After too many wrong ones the right one waits too: else it would show itself among guesses.
            seconds = max(seconds, self._rate.wait(f"{client} guesses", take=not right))
        if seconds:
            return _error(429, f"too many requests; try again in {seconds} s", {"Retry-After": str(seconds)})
        if self._token is None or right or _is_open(path):
            return None
        return _error(
            401,
            "a token is needed: Authorization: Bearer <token>",
            {"WWW-Authenticate": 'Bearer realm="mlcmr"'},
        )

    def _has_cookie(self, headers: Headers) -> bool:
        """Whether the page's cookie is there. Another one may be that of another server on this host."""
        with suppress(CookieError):
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
            return bool(cookie and self._token and is_same(cookie.value, cookie_value(self._token)))
        return False


def _given(scope: Scope, headers: Headers) -> str | None:
    """What is given for the token, where it is looked at."""
    if scope["path"] == "/":
        return QueryParams(scope["query_string"]).get("token")
    if _is_open(scope["path"]):
        return None
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    return bearer.strip() if scheme.lower() == "bearer" else None


def is_same(shown: str, secret: str) -> bool:
    """Compares in a time that does not depend on where they differ."""
    return hmac.compare_digest(shown.encode("utf-8", "surrogatepass"), secret.encode())


def cookie_value(token: str) -> str:
    """What the page's cookie holds: proof of the token, not the token."""
    return hmac.new(token.encode(), b"mlcmr page", hashlib.sha256).hexdigest()


def _is_open(path: str) -> bool:
    """Whether nothing of the index is there."""
    return path in ("/", "/health", "/favicon.ico") or path.startswith("/page/")


def _is_visit(path: str, headers: Headers) -> bool:
    """Whether somebody follows a link to the page; what another site loads by itself is none."""
    mode, destination = headers.get("sec-fetch-mode", "navigate"), headers.get("sec-fetch-dest", "document")
    return path == "/" and mode == "navigate" and destination == "document"


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host(header: str) -> str:
    """The name of a Host header, without its port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


def _client(scope: Scope) -> str:
    """Who asks: an address; of IPv6 the network, of which one client has all addresses."""
    host = (scope.get("client") or ("", 0))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or address.exploded[:19])


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": message}, status, headers)
