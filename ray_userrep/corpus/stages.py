"""Errors of the cluster's tasks as the caller should see them."""

from collections.abc import Iterator
from contextlib import contextmanager

from ray_userrep.errors import UserError


@contextmanager
def plain_errors() -> Iterator[None]:
    """A user's error comes out of a task as itself."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if type(cause) is UserError:  # Ray's wrapper of a task's error is a subclass of that error, too
                raise cause from None
            cause = getattr(cause, "cause", None) or cause.__cause__
        raise
