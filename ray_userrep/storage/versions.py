"""Small files that several processes write: created by one of them, replaced only by who knows what is there.

On S3 these are conditional puts on the ETag. On a disk a file is created by linking it, and replaced under a lock of
its folder that ends with whoever holds it. Other schemes of fsspec have neither: there a file is created by one of
several, but replaced by the last.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ray_userrep.storage import s3
from ray_userrep.storage.failures import user_errors
from ray_userrep.storage.files import beside, open_fsspec
from ray_userrep.storage.s3 import Version
from ray_userrep.storage.uri import absolute, is_local, s3_parts


def create_exclusive(uri: str, data: bytes) -> None:
    """Write a file unless there is one: of several writers exactly one succeeds.

    Raises:
        FileExistsError: somebody was first.
    """
    write_version(uri, data, None)


def write_version(uri: str, data: bytes, over: str | None) -> str:
    """Write a file in place of the version with this tag, or where there is none; returns the tag of the new version.

    Of several writers exactly one succeeds. No two versions may hold the same bytes.

    Raises:
        FileExistsError: somebody was first.
    """
    with user_errors(uri):
        if uri.startswith("s3://"):
            return s3.put_over(*s3_parts(uri), data, over)
        if not is_local(uri):
            _write_elsewhere(uri, data, over)
        elif over is None:
            _create(Path(absolute(uri)), data)
        else:
            _replace(Path(absolute(uri)), data, over)
        return _digest(data)


def read_version(uri: str) -> Version | None:
    """A file with its tag and its age; None where there is none.

    The age is told by the clock of the store: those of the machines that write need not agree.
    """
    with user_errors(uri), suppress(FileNotFoundError):
        if uri.startswith("s3://"):
            return s3.read_version(*s3_parts(uri))
        if is_local(uri):
            path = Path(absolute(uri))
            written = path.stat().st_mtime  # before it is read: what is new must not look old
            data = path.read_bytes()
            return Version(data, _digest(data), _now_beside(path) - written)
        filesystem, place = open_fsspec(uri)
        written = filesystem.modified(place)
        data = filesystem.cat_file(place)
        filesystem.pipe_file(f"{place}.now", b"")
        age = filesystem.modified(f"{place}.now") - written
        filesystem.rm_file(f"{place}.now")
        return Version(data, _digest(data), age.total_seconds())
    return None


def _now_beside(path: Path) -> float:
    """The time that the disk gives what is written now, be it another machine's."""
    with beside(path) as probe:
        probe.touch()
        return probe.stat().st_mtime


def _create(path: Path, data: bytes) -> None:
    with beside(path) as temporary:
        temporary.write_bytes(data)
        os.link(temporary, path)


def _replace(path: Path, data: bytes, over: str) -> None:
    with _alone(path.parent), beside(path) as temporary:
        if not _is(path, over):
            raise FileExistsError(str(path))
        temporary.write_bytes(data)
        os.replace(temporary, path)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One at a time, of all threads and processes; a lock ends with whoever held it, and leaves no file behind."""
    try:
        place = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        raise FileExistsError(str(folder)) from None  # what was to be replaced is gone with its folder
    try:
        with suppress(OSError):  # some network disks lock no folders: there the comparison alone has to do
            fcntl.flock(place, fcntl.LOCK_EX)
        yield
    finally:
        os.close(place)


def _is(path: Path, tag: str) -> bool:
    return path.exists() and _digest(path.read_bytes()) == tag


def _write_elsewhere(uri: str, data: bytes, over: str | None) -> None:
    filesystem, path = open_fsspec(uri)
    if over is None:
        filesystem.pipe_file(path, data, mode="create")
    elif not filesystem.exists(path) or _digest(filesystem.cat_file(path)) != over:
        raise FileExistsError(uri)
    else:
        filesystem.pipe_file(path, data)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
