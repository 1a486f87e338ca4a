"""`mlcmr serve`: an index as a web site for people and an API for programs."""

import os
import socket
import threading
import webbrowser
from contextlib import closing, suppress
from pathlib import Path

from rich.console import Console

from mlcmr.errors import UserError, reason
from mlcmr.search.api import create_app
from mlcmr.search.limits import is_loopback
from mlcmr.search.searcher import Searcher
from mlcmr.search.service import Limits

try:
    import uvicorn
except ImportError as error:
    raise UserError("the server needs uvicorn: pip install 'mlcmr[search]'") from error

TOKEN_VARIABLE = "MLCMR_TOKEN"  # noqa: S105
_SHORTEST_TOKEN = 12
# Whose X-Forwarded-For is believed: web servers on this machine, by every way to reach it.
_PROXIES = "127.0.0.1,::1,::ffff:127.0.0.1"
_CONNECTIONS = 2000  # beyond, uvicorn answers 503 itself


def serve(
    index: str | os.PathLike[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    limits: Limits | None = None,
    device: str = "auto",
    browse: bool = False,
) -> None:
    """Serves an index until interrupted.

    Args:
        index: The folder that `mlcmr index` wrote.
        host: The address to listen at.
        port: The port; 0 takes a free one.
        token: What clients must show; by default the environment variable `MLCMR_TOKEN`.
        limits: How much is done at a time.
        device: `cpu`, `cuda` or `auto`.
        browse: Open the page in a browser, where there is one.

    Raises:
        UserError: no such index, a host other than loopback without a token, a weak token, an address in use.
    """
    token = _checked(token or os.environ.get(TOKEN_VARIABLE), host)
    with _listen(host, port) as listener:
        searcher = Searcher(Path(index), device=device)
        try:
            app = create_app(searcher, token=token, limits=limits)
            config = uvicorn.Config(
                app,
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
                f"{searcher.size:,} segments, {found}, {searcher.model_name}",
                f"page: {address}   API: {address}api/openapi.json   stop: Ctrl+C",
            ):
                console.print(line, highlight=False, markup=False, soft_wrap=True)
            if browse:
                # The socket listens: the page waits until it is served. A browser in the terminal returns
                # only when it is closed.
                threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
            with closing(app.state.service), suppress(KeyboardInterrupt):  # the way to stop it
                uvicorn.Server(config).run(sockets=[listener])
        finally:
            searcher.close()


def _checked(token: str | None, host: str) -> str | None:
    if token is None:
        if not is_loopback(host):
            raise UserError(
                f"--host {host}: others can reach this address, so it needs --token or {TOKEN_VARIABLE}; "
                "make one with: openssl rand -hex 16"
            )
        return None
    if len(token) < _SHORTEST_TOKEN or not (token.isascii() and token.isprintable()) or " " in token:
        raise UserError(
            f"--token: expected {_SHORTEST_TOKEN} or more ASCII characters without spaces; "
            "make one with: openssl rand -hex 16"
        )
    return token


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise UserError(f"{host}:{port}: cannot listen there: no such port; choose another --port")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # `::` then takes IPv4 as well.
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        listener = socket.create_server((host, port), family=family, backlog=2048, dualstack_ipv6=both)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"{host}:{port}: cannot listen there: {reason(error)}; choose another --port or --host"
        ) from error
    # Connections inherit it. Without, the second part of every answer waits 40 ms for the client's receipt.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
