"""What an endpoint says no with: each kind of mistake has a status, and the message is one line.

A refusal is the caller's mistake, or a state that passes; whatever else goes wrong is a bug and comes out as 500.
"""

from starlette.responses import JSONResponse, Response

from ray_userrep.errors import UserError


class NotFound(UserError):
    """There is no such item or user."""


class TooLarge(UserError):
    """The request is larger than the endpoint takes."""


class Unavailable(Exception):
    """Nobody could answer just now; the same request may be sent again, since none changes anything."""


_STATUS = {NotFound: 404, TooLarge: 413, Unavailable: 503}
_AGAIN = {"Retry-After": "1"}


def refused(error: Exception) -> Response:
    """The answer to a request that cannot be served."""
    status = _STATUS.get(type(error), 422)
    return said(status, str(error), _AGAIN if status == 503 else None)


def said(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    """One line as JSON; what is no text in it, being quoted from the request, is replaced."""
    line = " ".join(text.encode("utf-8", "replace").decode().split())
    return JSONResponse({"error": line}, status, headers)
