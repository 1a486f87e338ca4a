"""The counters of `/metrics`, in Prometheus' format."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS = ("GET", "HEAD", "POST")


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "mlcmr_requests", "Requests answered.", ("route", "method", "status"), registry=self._registry
        )
        self.seconds = Histogram(
            "mlcmr_request_seconds",
            "From a request's first byte to its answer's last.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.in_flight = Gauge(
            "mlcmr_requests_in_flight", "Requests being answered.", registry=self._registry
        )
        self.batch_size = Histogram(
            "mlcmr_batch_size",
            "Queries encoded together.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self._registry,
        )

    def text(self) -> bytes:
        """Return all counters in Prometheus' format."""
        return generate_latest(self._registry)


class Meter:
    """The middleware that counts and times requests by route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count and time a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, start = 500, time.perf_counter()

        async def send_and_look(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, send_and_look)
        finally:
            self._metrics.in_flight.dec()
            # The route, not the path: clients can invent any number of paths.
            route = getattr(scope.get("route"), "path_format", "other")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(route, method, status).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - start)
