"""The middleware of every request: tokens, rates, concurrent requests, and headers of responses."""

import functools
import hashlib
import hmac
import ipaddress
import math
import re
import time
from asyncio import CancelledError
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "mlcmr"
# The whole header must match: `[::1].evil.example` names a foreign host.
_HOST = re.compile(r"(\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9.-]+))(:[0-9]{0,5})?", re.ASCII)
_MOST_CLIENTS = 10_000  # the rates of so many are remembered

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
    """The server has too many requests: status 503, with the time to retry."""

    def __init__(self, seconds: int = 1) -> None:
        super().__init__(503, "the server is busy; try again in a moment", {"Retry-After": str(seconds)})


class Unavailable(HTTPException):
    """The index cannot be searched: status 503, with the time to retry; the log says why."""

    def __init__(self, seconds: int = 10, *, is_damaged: bool = False) -> None:
        if is_damaged:
            message = "a file of the index is damaged; the server's log says which"
        else:
            message = "the index cannot be searched at the moment; the server's log says why"
        super().__init__(503, message, {"Retry-After": str(seconds)})


class Slots:
    """A limit of concurrent requests of one kind; further requests are refused at once.

    Call its methods in the thread of the event loop only.

    Args:
        most: The number of slots.
        share: The number of slots for one client; by default all.
    """

    def __init__(self, most: int, share: int | None = None) -> None:
        self._most = most
        self._share = most if share is None else share
        self._taken: Counter[str] = Counter()

    def take(self, client: str = "") -> None:
        """Take a slot until `give` returns it.

        Raises:
            HTTPException: If the client has its share of the slots (status 429).
            Overloaded: If all slots are taken.
        """
        if self._taken.total() >= self._most:
            raise Overloaded
        if self._taken[client] >= self._share:
            raise HTTPException(429, "too many at a time from this address", {"Retry-After": "1"})
        self._taken[client] += 1

    def give(self, client: str = "") -> None:
        """Return a slot."""
        self._taken -= Counter([client])  # drops clients without a slot


class RateLimiter:
    """A token bucket for each client.

    Args:
        per_second: The number of requests per second in the long run; 0 is no limit.
        clock: Returns the time in seconds.
    """

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = max(1.0, 3 * per_second)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str, take: int = 1) -> int:
        """Return the seconds that a client must wait, or 0 if a request is allowed.

        Args:
            client: The client.
            take: The number of requests to count; 0 counts none.
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
    """The middleware that checks the token, limits the rate of clients and adds security headers.

    Args:
        app: The application.
        token: The token that clients must send. Without a token, only requests to a loopback name are
            answered, so that no web site can reach the server through a visitor's browser.
        rate: The rate limit of the API.
    """

    def __init__(self, app: ASGIApp, token: str | None, rate: RateLimiter) -> None:
        self._app = app
        self._token = token
        self._cookie = None if token is None else cookie_value(token)
        self._rate = rate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
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

        if not scope["path"].startswith("/media/"):  # other files are small and sent as a whole
            scope["headers"] = [(name, value) for name, value in scope["headers"] if name != b"range"]
        refusal = self._refusal(scope)
        try:
            await (refusal or self._app)(scope, receive, send_with_headers)
        except CancelledError:  # the server shuts down and no longer waits for this request
            if not begun:
                await _error(503, "the server is shutting down")(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        path, headers = scope["path"], Headers(scope=scope)
        if self._token is None and not is_loopback(_host(headers.get("host", ""))):
            return _error(
                421, "without a token the server answers to its loopback name only, such as localhost"
            )
        if _is_foreign(scope["method"], headers) and not _is_visit(path, headers):
            return _error(
                403,
                "pages of other sites get no answer, but links to the page work; a web server in front must "
                "pass on `Host` as the browser sends it",
            )
        client = client_of((scope.get("client") or ("",))[0])
        seconds, cookie = 0, None if _needs_no_token(path) else _cookie(headers)
        right = cookie is not None and self._cookie is not None and equals_secret(cookie, self._cookie)
        if not right and self._token is not None:
            given = _token_of_request(scope, headers)
            if given is not None:
                right = equals_secret(given, self._token)
                # After too many wrong tokens, the right token must wait too, or guesses would find it.
                seconds = self._rate.wait(f"{client} guesses", take=not right)
            if cookie is not None and not right:
                # Cookies are counted separately: a browser also sends the cookie of another server on this
                # host, and the right token must still be accepted.
                seconds = max(seconds, self._rate.wait(f"{client} cookies"))
        if path.startswith("/api/") and (right or self._token is None):
            # Refused requests do not count against other clients at the same address.
            seconds = max(seconds, self._rate.wait(client))
        if seconds:
            return _error(429, f"too many requests; try again in {seconds} s", {"Retry-After": str(seconds)})
        if self._token is None or right or _needs_no_token(path):
            return None
        return _error(
            401,
            "a token is needed: Authorization: Bearer <token>",
            {"WWW-Authenticate": 'Bearer realm="mlcmr"'},
        )


def _cookie(headers: Headers) -> str | None:
    """Return the value of the page's cookie, if the request has one."""
    with suppress(CookieError):
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        return cookie.value if cookie else None
    return None


def _token_of_request(scope: Scope, headers: Headers) -> str | None:
    """Return the token in a request, if its path takes a token."""
    if scope["path"] == "/":
        return QueryParams(scope["query_string"]).get("token")
    if _needs_no_token(scope["path"]):
        return None
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    return bearer.strip() if scheme.lower() == "bearer" else None


def equals_secret(shown: str, secret: str) -> bool:
    """Compare two secrets in a time that does not depend on their first difference."""
    return hmac.compare_digest(shown.encode("utf-8", "surrogatepass"), secret.encode())


@functools.cache
def cookie_value(token: str) -> str:
    """Return the value of the page's cookie, which proves the token without containing it.

    The right cookie is accepted even after many wrong cookies. So it must be slow to compute from a guessed
    token: about 0.1 s for each guess.
    """
    return hashlib.scrypt(token.encode(), salt=b"mlcmr page", n=2**15, r=8, p=1, maxmem=2**26).hex()


def _needs_no_token(path: str) -> bool:
    """Return whether a path is served without a token (page, icon, health check)."""
    return path in ("/", "/health", "/favicon.ico") or path.startswith("/page/")


def _is_foreign(method: str, headers: Headers) -> bool:
    """Return whether a page of another site has sent a request."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site in ("cross-site", "same-site"):
        return True
    # Browsers send no `Sec-Fetch-Site` to plain HTTP addresses of a network. Where they say `same-origin`, a
    # web server in front may have changed `Host`.
    if origin is None or site == "same-origin" or method in ("GET", "HEAD"):
        return False
    # No page can send `X-Forwarded-…` to another site without permission.
    proxied = any(name.startswith("x-forwarded-") for name in headers)
    known = {headers.get("host", ""), headers.get("x-forwarded-host", "").split(",")[0].strip()}
    scheme, _, host = origin.lower().partition("://")
    # Browsers leave out the default port, and many web servers in front leave out any (nginx: `$host`).
    meant = {host, host + {"http": ":80", "https": ":443"}.get(scheme, "")}
    if proxied:
        meant.add(re.sub(r":[0-9]+$", "", host))
    return meant.isdisjoint({name.lower() for name in known if name})


def _is_visit(path: str, headers: Headers) -> bool:
    """Return whether a browser opens the page itself, for example by a link, and not inside another site."""
    mode, destination = headers.get("sec-fetch-mode", "navigate"), headers.get("sec-fetch-dest", "document")
    return path == "/" and mode == "navigate" and destination == "document"


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is a loopback name of this machine."""
    if host.lower().removesuffix(".") == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _host(header: str) -> str:
    """Return the name in a Host header, without its port; empty for a malformed header."""
    found = _HOST.fullmatch(header)
    return (found["address"] or found["name"]) if found else ""


def client_of(host: str) -> str:
    """Return the client at an address; in IPv6 the network, since one client has all of its addresses."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or address.exploded[:19])


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": message}, status, headers)
