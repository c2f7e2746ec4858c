"""Zip archives as folders: `…/log.zip/ratings.csv` is a file inside `…/log.zip`.

Members are read where they lie, without unpacking; the price is one request for the archive's directory each time that
a member is opened. Archives come from anywhere: one whose members lead out of it, are links, or unpack to hundreds of
times their size is refused whole. A member that is damaged or encrypted costs itself.
"""

import stat
import zipfile
import zlib
from typing import Any

import pyarrow.fs as pafs
from fsspec.implementations.zip import ZipFileSystem

DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError)  # what reading a damaged member raises

_MARK = ".zip/"
_MOST_TIMES = 250  # the size of a member unpacked over packed; logs pack to a tenth, and never to a hundredth
_SMALL = 8 * 2**20  # bytes that may be unpacked from anything


class UnsafeArchive(Exception):
    """An archive has members that no log has; the message says which and why."""


def split(uri: str) -> tuple[str, str]:
    """The archive's place and the member's name in it; an empty name where no archive is passed through."""
    place = uri.lower().find(_MARK)
    if place < 0:
        return uri, ""
    end = place + len(_MARK)
    return uri[: end - 1], uri[end:]


class _Members(ZipFileSystem):
    """An archive's files; one that is encrypted, or packed in an unknown way, is damaged."""

    def _open(self, path: str, mode: str = "rb", *others: Any, **named: Any) -> Any:
        try:
            return super()._open(path, mode, *others, **named)
        except (RuntimeError, NotImplementedError) as error:
            raise zipfile.BadZipFile(str(error)) from error


def inside(filesystem: pafs.FileSystem, path: str) -> pafs.FileSystem:
    """The content of the archive at a path, as a filesystem."""
    return pafs.PyFileSystem(pafs.FSSpecHandler(_Members(fo=filesystem.open_input_file(path))))


def members(filesystem: pafs.FileSystem, path: str) -> list[tuple[str, int, int]]:
    """Names, unpacked sizes and checksums of an archive's files, sorted.

    Raises:
        zipfile.BadZipFile: it is not an archive.
        UnsafeArchive: a member is none that can be trusted.
    """
    with filesystem.open_input_file(path) as source, zipfile.ZipFile(source) as archive:
        found = archive.infolist()
    for info in found:
        if (reason := _unsafe(info)) is not None:
            raise UnsafeArchive(f"its member {info.filename!r} {reason}")
    return sorted((info.filename, info.file_size, info.CRC) for info in found if not info.is_dir())


def _unsafe(info: zipfile.ZipInfo) -> str | None:
    """Why a member is refused; None where it is not."""
    parts = info.filename.replace("\\", "/").split("/")
    if parts[0] == "" or parts[0].endswith(":") or ".." in parts:
        return "leads out of it"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "is a link"
    if info.file_size > max(_SMALL, _MOST_TIMES * info.compress_size):
        return f"unpacks from {info.compress_size:,} bytes to {info.file_size:,}"
    return None
