"""`mlcmr serve`: a search page and an HTTP API for an index."""

import asyncio
import os
import resource
import shlex
import socket
import threading
import webbrowser
from collections.abc import Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import cast

from rich.console import Console

from mlcmr.arguments import check_arguments
from mlcmr.errors import InvalidValueError, MissingDependencyError, reason
from mlcmr.search.http.app import create_app
from mlcmr.search.http.middleware import is_loopback
from mlcmr.search.http.service import ServerLimits
from mlcmr.search.searcher import Searcher
from mlcmr.text import plural, printable

try:
    import uvicorn

    from mlcmr.search.http.connections import HEAD_SECONDS, Connections, Guarded
except ImportError as error:
    raise MissingDependencyError("the server needs uvicorn: pip install 'mlcmr[search]'") from error

TOKEN_VARIABLE = "MLCMR_TOKEN"  # noqa: S105
_SHORTEST_TOKEN = 12
# The addresses whose X-Forwarded-For is trusted: web servers on this machine.
_PROXIES = "127.0.0.1,::1,::ffff:127.0.0.1"
_CHECKED_SEGMENTS = 1000  # the files of so many are checked at the start
_CONNECTIONS = 2000  # of all clients; above, uvicorn itself answers 503


@check_arguments
def serve(
    index: str | os.PathLike[str] = "index",
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    limits: ServerLimits | None = None,
    device: str = "auto",
    url: str | None = None,
    models: Sequence[str] = (),
    media_roots: Sequence[str | Path] = (),
    browse: bool = False,
) -> None:
    """Serve an index until interrupted.

    Args:
        index: The folder that `mlcmr index` wrote.
        host: The address to listen at.
        port: The port; 0 takes a free one.
        token: The token that requests must contain; by default the environment variable `MLCMR_TOKEN`.
        limits: The limits of the server: requests, uploads, connections and times.
        device: `cpu`, `cuda` or `auto`.
        url: The Qdrant server of an index that another user made. By default, only servers that this user has
            named are used.
        models: A model of the hub that may be downloaded for an index that another user made. May be given
            several times.
        media_roots: A folder whose videos may be handed out, besides the folders that this user has indexed.
            May be given several times.
        browse: Open the page in a browser, if this machine has a browser.

    Raises:
        MlcmrError: If there is no index, the token is missing or weak, or the address is in use.
    """
    token = _checked(token or os.environ.get(TOKEN_VARIABLE), host)
    limits = limits or ServerLimits()
    _allow_open_files()
    with _listen(host, port) as listener:
        searcher = Searcher(index, device=device, url=url, models=models, media_roots=media_roots)
        try:
            app = create_app(searcher, token=token, limits=limits)
            config = uvicorn.Config(
                app,
                http=protocol(limits),
                access_log=False,
                log_level="warning",
                limit_concurrency=_CONNECTIONS,
                server_header=False,
                forwarded_allow_ips=os.environ.get("FORWARDED_ALLOW_IPS", _PROXIES),
                timeout_graceful_shutdown=5,
                ws="none",
            )
            name = f"[{host}]" if ":" in host else host
            address = f"http://{name}:{listener.getsockname()[1]}/"
            found = "exact search" if searcher.exact else "HNSW"
            console = Console()
            for line in (
                f"{plural(searcher.size, 'segment')}, {found}, {searcher.model_name}",
                *_describe_closed_folders(searcher),
                f"page: {address}   API: {address}api/openapi.json   stop: Ctrl+C",
            ):
                console.print(line, highlight=False, markup=False, soft_wrap=True)
            if browse:
                # The socket listens already, so the browser waits for the server. A text browser returns only
                # when the user closes it.
                threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
            with closing(app.state.service), suppress(KeyboardInterrupt):  # Ctrl+C stops the server
                uvicorn.Server(config).run(sockets=[listener])
        finally:
            searcher.close()


def _describe_closed_folders(searcher: Searcher) -> list[str]:
    """Return a line about files that are not handed out, if the first videos have such files."""
    outside = searcher.folders_outside(_CHECKED_SEGMENTS)
    if not outside:
        return []
    commands = " and ".join(
        f"`mlcmr serve --media-root {shlex.quote(printable(folder))}`" for folder in outside
    )
    return [f"closed: files outside the folders that you have indexed; to hand them out: {commands}"]


def protocol(limits: ServerLimits) -> type[asyncio.Protocol]:
    """Return uvicorn's option `http`: the class of connections, with their limits."""
    connections = Connections(
        limits.connections,
        head_seconds=min(limits.seconds, HEAD_SECONDS),
        stall_seconds=limits.seconds,
    )
    limited = partial(Guarded, connections)
    return cast("type[asyncio.Protocol]", limited)  # uvicorn only calls it


def _allow_open_files() -> None:
    """Raise the limit of open files to the number of connections if possible; often it is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * _CONNECTIONS if hard == resource.RLIM_INFINITY else min(hard, 2 * _CONNECTIONS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _checked(token: str | None, host: str) -> str | None:
    if token is None:
        if not is_loopback(host):
            raise InvalidValueError(
                f"`host` {host}: others can reach this address, so it needs `token` or {TOKEN_VARIABLE}; "
                "make a token with: openssl rand -hex 16",
                parameter="token",
            )
        return None
    if len(token) < _SHORTEST_TOKEN or not (token.isascii() and token.isprintable()) or " " in token:
        raise InvalidValueError(
            f"`token`: expected {_SHORTEST_TOKEN} or more ASCII characters without spaces; "
            "make a token with: openssl rand -hex 16",
            parameter="token",
        )
    return token


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise InvalidValueError(
            f"{host}:{port}: cannot listen there: no such port; choose another `port`", parameter="port"
        )
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # `::` then takes IPv4 as well.
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        listener = socket.create_server((host, port), family=family, backlog=2048, dualstack_ipv6=both)
    except (OSError, OverflowError) as error:
        raise InvalidValueError(
            f"{host}:{port}: cannot listen there: {reason(error)}; choose another `port` or `host`",
            parameter="port",
        ) from error
    # Connections inherit this option. Without it, the second part of every response waits 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
