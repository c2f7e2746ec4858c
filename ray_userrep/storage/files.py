"""Files at any URI: local paths, `file://`, `s3://`, and every other scheme that fsspec knows.

pyarrow's own filesystems carry the bulk: they read ranges in parallel, retry, and Ray speaks them. fsspec covers the
schemes that pyarrow lacks, more slowly. Every write appears whole or not at all: a temporary file renamed into place
locally, one upload on an object store. S3 takes its endpoint, region and credentials from the usual AWS places.
"""

import errno
import io
import os
import tempfile
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
import pyarrow as pa
import pyarrow.fs as pafs

from ray_userrep.errors import UserError, refuse_secrets, refuse_unfit
from ray_userrep.storage import archives, s3
from ray_userrep.storage.failures import again, user_errors
from ray_userrep.storage.uri import absolute, is_local, join, s3_parts

_PIECE = 8 * 2**20  # a stream read without a size is several times slower than in pieces, on S3
_THREADS = 8
_DELETIONS = 8  # of a folder that others write into


class FileEntry(NamedTuple):
    """A file, its size in bytes, and a stamp that changes where it is written again.

    The stamp is the time of writing as the store tells it, the checksum of a member of an archive, or 0 where neither
    is known.
    """

    uri: str
    size: int
    stamp: int = 0

    @property
    def written(self) -> float:
        """When a file outside an archive was written, in seconds since 1970; 0 where that is not known."""
        return self.stamp / 10**9 if is_local(self.uri) else float(self.stamp)


def open_fs(uri: str) -> tuple[pafs.FileSystem, str]:
    """The filesystem of a URI and the path inside it; the filesystem can be pickled, that of an archive excepted.

    Raises:
        UserError: nothing here reads this scheme.
    """
    refuse_secrets(uri, "an address")
    refuse_unfit(uri, "an address")
    archive, member = archives.split(uri)
    if member:
        filesystem, path = open_fs(archive)
        if filesystem.get_file_info(path).is_file:
            return archives.inside(filesystem, path), member
    if is_local(uri):
        return pafs.LocalFileSystem(), absolute(uri)
    if uri.startswith("s3://"):
        bucket, _ = s3_parts(uri)
        return s3.filesystem(bucket), uri.removeprefix("s3://").rstrip("/")
    filesystem, path = open_fsspec(uri)
    return pafs.PyFileSystem(pafs.FSSpecHandler(filesystem)), path


def exists(uri: str) -> bool:
    """Whether there is a file or a folder."""
    with user_errors(uri):
        filesystem, path = open_fs(uri)
        return filesystem.get_file_info(path).type != pafs.FileType.NotFound


def list_files(uri: str, suffix: str = "", hidden: bool = False) -> list[FileEntry]:
    """All files below a folder, or the file itself, sorted by URI; names that start with `.` or `_` only if `hidden`.

    Raises:
        UserError: there is nothing at the URI, or it may not be read.
    """
    with user_errors(uri):
        filesystem, path = open_fs(uri)
        info = filesystem.get_file_info(path)
        if info.type == pafs.FileType.NotFound:
            raise FileNotFoundError(uri)
        if info.is_file:
            return [FileEntry(absolute(uri), info.size, _stamp(uri, info))]
        found = _walk(filesystem, path)
    return [
        FileEntry(join(absolute(uri), name), info.size, _stamp(uri, info))
        for name, info in found
        if name.endswith(suffix) and (hidden or not _is_hidden(name))
    ]


def _stamp(uri: str, info: pafs.FileInfo) -> int:
    """Stores tell seconds, some in one place and not in another also parts of them."""
    written = info.mtime_ns or 0
    return written if is_local(uri) else written // 10**9


def list_archive(uri: str) -> list[FileEntry]:
    """All files of a zip archive, sorted by URI; names that start with `.` or `_` are skipped.

    Raises:
        UserError: it cannot be read as an archive, or holds what leads out of it or unpacks to absurd sizes.
    """
    with user_errors(uri):
        try:
            found = archives.members(*open_fs(uri))
        except (zipfile.BadZipFile, pa.ArrowInvalid) as error:
            raise UserError(f"{uri} cannot be read as a zip archive: {error}") from error
        except archives.UnsafeArchive as error:
            raise UserError(f"{uri} is refused, as {error}: unpack what you trust of it") from error
    return [FileEntry(join(uri, name), size, stamp) for name, size, stamp in found if not _is_hidden(name)]


def refuse_links_out(uri: str) -> None:
    """Check that no link below a local folder leads out of it, or back to a folder that it is in.

    Raises:
        UserError: one does; the message names it.
    """
    root = os.path.realpath(absolute(uri)) if is_local(uri) else ""
    if not os.path.isdir(root):
        return
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            place = os.path.join(folder, name)
            if not os.path.islink(place):
                continue
            target = os.path.realpath(place)
            if os.path.commonpath([root, target]) != root or os.path.commonpath([target, place]) == target:
                raise UserError(f"{place} is a link that leads out of {uri} or back into it: put {target} there itself")


@contextmanager
def open_stream(uri: str, compression: str | None = "detect", buffer_size: int = _PIECE) -> Iterator[pa.NativeFile]:
    """A file from its start, decompressed; where an answer of the store breaks off, the next one goes on from there.

    `compression` is that of pyarrow: a codec, None, or what the name says.
    """
    filesystem, path = open_fs(uri)
    if not isinstance(filesystem, pafs.S3FileSystem):
        with filesystem.open_input_stream(path, compression=compression, buffer_size=buffer_size) as source:
            yield source
        return
    with filesystem.open_input_file(path) as file:
        source = pa.BufferedInputStream(pa.PythonFile(_Ranges(file), "r"), buffer_size)
        codec = _codec_of(path) if compression == "detect" else compression
        yield source if codec is None else pa.CompressedInputStream(source, codec)


def _codec_of(path: str) -> str | None:
    try:
        name: str = pa.Codec.detect(path).name
    except (TypeError, ValueError):  # no known suffix, which versions of pyarrow say differently
        return None
    return name


class _Ranges(io.RawIOBase):
    """A file read range by range, each of which can be read again."""

    def __init__(self, source: pa.NativeFile) -> None:
        self._source, self._at = source, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        wanted = size if size >= 0 else self._source.size() - self._at
        found: bytes = again(lambda: self._source.read_at(wanted, self._at))
        self._at += len(found)
        return found


def read_bytes(uri: str) -> bytes:
    """A file's content, as it is."""
    with user_errors(uri), open_stream(uri, None) as source:
        return b"".join(pieces(source))


def read_buffer(uri: str) -> pa.Buffer:
    """A file's content, as it is, without a copy."""
    filesystem, path = open_fs(uri)

    def read() -> pa.Buffer:
        with filesystem.open_input_file(path) as source:
            return source.read_buffer()

    with user_errors(uri):
        return again(read)


def checksum(data: bytes | pa.Buffer, before: str = "0") -> str:
    """The CRC-32 of bytes behind others of which it is known: against accidents, not against forgers."""
    return f"{zlib.crc32(data, int(before, 16)):08x}"


def file_checksum(uri: str) -> str:
    """The checksum of a file; it is read piece by piece."""
    with user_errors(uri), open_stream(uri, None) as source:
        return reduce(lambda so_far, piece: checksum(piece, so_far), pieces(source), checksum(b""))


def write_bytes(uri: str, data: bytes | pa.Buffer) -> None:
    """Write a file whole, over what was there."""
    with user_errors(uri), sink(uri) as target:
        target.write(data)


def upload_dir(local: str | Path, uri: str) -> None:
    """Copy a local folder, hidden files too, below a URI."""
    root = Path(local)
    names = [str(path.relative_to(root)) for path in sorted(root.rglob("*")) if path.is_file()]
    _in_threads(lambda name: _copy(str(root / name), join(uri, name)), names)


def download_dir(uri: str, local: str | Path) -> None:
    """Copy everything below a URI into a local folder.

    Raises:
        UserError: there is nothing at the URI.
    """
    with user_errors(uri):
        filesystem, path = open_fs(uri)
        names = [name for name, _ in _walk(filesystem, path)]
    _in_threads(lambda name: _copy(join(uri, name), str(Path(local) / name)), names)


def delete(uri: str) -> None:
    """Remove a file, or a folder with all that is in it; nothing there is fine."""
    with user_errors(uri):
        filesystem, path = open_fs(uri)
        kind = filesystem.get_file_info(path).type
        with suppress(FileNotFoundError):  # somebody else deleted it meanwhile
            if kind == pafs.FileType.Directory:
                _delete_dir(filesystem, path)
            elif kind == pafs.FileType.File:
                filesystem.delete_file(path)


def _delete_dir(filesystem: pafs.FileSystem, path: str) -> None:
    """Remove a folder, again where somebody wrote into it meanwhile."""
    for _ in range(_DELETIONS):
        try:
            return filesystem.delete_dir(path)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
    filesystem.delete_dir(path)


def open_fsspec(uri: str) -> tuple[Any, str]:
    """The filesystem of fsspec for a URI, and the path in it.

    Raises:
        UserError: there is none for its scheme.
    """
    try:
        return fsspec.url_to_fs(uri)
    except (ImportError, ValueError) as error:
        raise UserError(f"{uri}: cannot open this scheme: {error}") from error


def _walk(filesystem: pafs.FileSystem, path: str) -> list[tuple[str, pafs.FileInfo]]:
    """Relative names of all files below a folder, sorted, and what is known of each."""
    infos = filesystem.get_file_info(pafs.FileSelector(path, recursive=True))
    found = [(info.path[len(path) :].strip("/"), info) for info in infos if info.is_file]
    return sorted(found, key=lambda one: one[0])


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "_")) for part in name.split("/"))


@contextmanager
def sink(uri: str) -> Iterator[Any]:
    """A stream whose bytes appear at the URI when the block ends well."""
    if is_local(uri):
        with beside(Path(absolute(uri))) as temporary:
            with open(temporary, "wb") as file:
                yield file
            os.replace(temporary, absolute(uri))
        return
    filesystem, path = open_fs(uri)
    if not uri.startswith("s3://"):  # S3 has no folders, and a marker object for one confuses other readers
        filesystem.create_dir(os.path.dirname(path), recursive=True)
    with filesystem.open_output_stream(path, compression=None) as stream:  # bytes as they are, whatever the name
        yield stream


@contextmanager
def local_file(uri: str) -> Iterator[Path]:
    """A path on this machine's disk, of which the file appears at the URI when the block ends well.

    Where the URI is on the same disk it is beside it: nothing is written twice.
    """
    if is_local(uri):
        with user_errors(uri), beside(Path(absolute(uri))) as temporary:
            yield temporary
            os.replace(temporary, absolute(uri))
        return
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "file"
        with user_errors(str(path)):
            yield path
        _copy(str(path), uri)


@contextmanager
def local_copy(uri: str) -> Iterator[Path]:
    """A path on this machine's disk that holds the file inside the block: its own, or that of a copy."""
    if is_local(uri):
        yield Path(absolute(uri))
        return
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "file"
        _copy(uri, str(path))
        yield path


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A hidden name in the same folder, gone when the block ends."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:  # such as below /proc, where no folder can be made
        raise PermissionError(str(path.parent)) from error
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def pieces(source: pa.NativeFile) -> Iterator[bytes]:
    """What is left of a stream, piece by piece."""
    while piece := source.read(_PIECE):
        yield piece


def _copy(source_uri: str, target_uri: str) -> None:
    source_of = open_stream(source_uri, None)
    with user_errors(source_uri), source_of as source, user_errors(target_uri), sink(target_uri) as target:
        for piece in pieces(source):
            target.write(piece)


def _in_threads(copy: Callable[[str], None], names: list[str]) -> None:
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(copy, names))
