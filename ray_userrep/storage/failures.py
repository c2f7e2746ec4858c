"""What can go wrong with a place: what the user can mend becomes one clear line, what passes is tried again.

Everything else is let through as it is: a bug should look like one.
"""

import errno
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import TypeVar

from ray_userrep.errors import UserError
from ray_userrep.storage import s3

_MORE_ATTEMPTS, _FIRST_PAUSE = 8, 0.1  # half a minute in all

_DISK_ERRORS = {
    errno.ENOSPC: "the disk is full: make room, or name another place",
    errno.EDQUOT: "your share of the disk is used up: make room, or name another place",
    errno.EROFS: "the disk can only be read: name another place",
    errno.EIO: "the disk fails to read or write",
    errno.ENAMETOOLONG: "a name is longer than the disk allows",
}

T = TypeVar("T")


@contextmanager
def user_errors(uri: str) -> Iterator[None]:
    """Turn what a user can mend into one clear line; let everything else through."""
    try:
        yield
    except (FileExistsError, UserError):
        raise
    except FileNotFoundError as error:
        raise UserError(f"{uri}: there is nothing here") from error
    except PermissionError as error:
        raise UserError(f"{uri}: no permission to read or write here") from error
    except (NotADirectoryError, IsADirectoryError) as error:
        raise UserError(f"{uri}: a file stands where a folder is needed, or a folder where a file is") from error
    except Exception as error:
        meaning = _DISK_ERRORS.get(_errno(error)) or s3.meaning(error)
        if meaning is None:
            raise
        raise UserError(f"{uri}: {meaning}") from error


def _errno(error: Exception) -> int:
    """The number of the system's error, 0 where it is none; libraries in Rust, such as safetensors, say it in words."""
    if isinstance(error, OSError):
        return error.errno or 0
    told = re.search(r"\(os error (\d+)\)", str(error))
    return int(told[1]) if told else 0


def again(read: Callable[[], T]) -> T:
    """What a read returns, begun anew where an answer of the store broke off."""
    for attempt in count():
        try:
            return read()
        except OSError as error:
            if not worth_another(error, attempt):
                raise
    raise AssertionError("attempts end with a result or an error")


def worth_another(error: OSError, attempt: int) -> bool:
    """Whether what was read may be read again: an answer broke off, for the first few times; pauses before it says so.

    Attempts count from 0.
    """
    if not s3.is_broken_off(error) or attempt >= _MORE_ATTEMPTS:
        return False
    time.sleep(_FIRST_PAUSE * 2**attempt)
    return True
