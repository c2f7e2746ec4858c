"""Who may ask, how often, and how much at once: decided before a request is read.

Only what answers about users, items or traffic is behind the gate; health, the page and the description of the
interface are open. Rates are counted by address: behind a proxy all clients have one, and the proxy has to count.
"""

import hashlib
import hmac
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ray_userrep.endpoint.refusals import TooLarge, refused, said
from ray_userrep.recipe.serve import ServeConfig

GUARDED = ("/v1/", "/metrics")
_MOST_CLIENTS = 10_000


class Gate:
    """Refuses requests in front of an app: too many (429), without the token (401), too large (413)."""

    def __init__(self, app: ASGIApp, config: ServeConfig, token_digest: str | None) -> None:
        self._app, self._digest, self._max_body = app, token_digest, config.max_body
        self._rates = None if config.rate is None else Rates(config.rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(GUARDED):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        client = (scope.get("client") or ("",))[0]
        if self._rates is not None and (wait := self._rates.wait(client)) > 0:
            again = {"Retry-After": str(math.ceil(wait))}
            await said(429, "too many requests: serve.rate is how many a second", again)(scope, receive, send)
        elif not self._is_known(headers):
            known = {"WWW-Authenticate": "Bearer"}
            await said(401, "the token is missing or wrong: Authorization: Bearer TOKEN", known)(scope, receive, send)
        elif (length := headers.get("content-length", "0")).isdecimal() and int(length[:20]) > self._max_body:
            await refused(self._too_large())(scope, receive, send)
        else:
            await self._app(scope, self._bounded(receive), send)

    def _is_known(self, headers: Headers) -> bool:
        kind, _, token = headers.get("authorization", "").partition(" ")
        if self._digest is None:
            return True
        return kind.lower() == "bearer" and hmac.compare_digest(digest_of(token.strip()), self._digest)

    def _bounded(self, receive: Receive) -> Receive:
        """The same body; too long a one, which need not say its length, is not read to its end."""
        num_bytes = 0

        async def counted() -> Message:
            nonlocal num_bytes
            message = await receive()
            num_bytes += len(message.get("body", b""))
            if num_bytes > self._max_body:
                raise self._too_large()
            return message

        return counted

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is larger than {self._max_body:,} bytes (serve.max_body): ask in parts")


class Rates:
    """What clients may still ask: a bucket of tokens each, which fills at a rate and holds a second's worth.

    The clients that have not asked for longest are forgotten where there are very many.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._size, self._clock = rate, max(1.0, rate), clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str) -> float:
        """Seconds until a client may ask; where it is 0 it has now asked."""
        now = self._clock()
        left, before = self._left.pop(client, (self._size, now))
        left = min(self._size, left + (now - before) * self._rate)
        may = left >= 1
        self._left[client] = (left - may, now)
        if len(self._left) > _MOST_CLIENTS:
            self._left.popitem(last=False)
        return 0.0 if may else (1 - left) / self._rate


def digest_of(token: str) -> str:
    """What is kept of a token, so that it stands in no state of Ray."""
    return hashlib.sha256(token.encode()).hexdigest()
