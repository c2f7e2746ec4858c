"""What Prometheus asks for: requests by route and status, how long they took, and how much was read.

Routes are those of the interface, never addresses as they were typed: those hold ids of users.
"""

import time

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Traffic:
    """The counters of one endpoint."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "userrep_requests", "Requests, by route and status", ["route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "userrep_request_seconds", "Time to answer", ["route"], registry=self._registry, buckets=_SECONDS
        )
        self._histories = Counter("userrep_histories", "Histories that were asked about", registry=self._registry)
        self._interactions = Counter("userrep_interactions", "Interactions in them", registry=self._registry)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def read(self, histories: int, interactions: int) -> None:
        """Count what a request holds."""
        self._histories.inc(histories)
        self._interactions.inc(interactions)

    def exposed(self) -> bytes:
        """All of it as Prometheus reads it."""
        return generate_latest(self._registry)


class Counted:
    """Counts the requests to an app."""

    def __init__(self, app: ASGIApp, traffic: Traffic) -> None:
        self._app, self._traffic = app, traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = 500, time.perf_counter()

        async def watched(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self._traffic.answered(route, status, time.perf_counter() - began)
