"""Zip archives as folders: `…/log.zip/ratings.csv` is a file inside `…/log.zip`.

Members are read where they lie, without unpacking; the price is one request for the archive's directory each time that
a member is opened. Encrypted archives are not read.
"""

import zipfile

import pyarrow.fs as pafs
from fsspec.implementations.zip import ZipFileSystem

_MARK = ".zip/"


def split(uri: str) -> tuple[str, str]:
    """The archive's place and the member's name in it; an empty name where no archive is passed through."""
    place = uri.lower().find(_MARK)
    if place < 0:
        return uri, ""
    end = place + len(_MARK)
    return uri[: end - 1], uri[end:]


def inside(filesystem: pafs.FileSystem, path: str) -> pafs.FileSystem:
    """The content of the archive at a path, as a filesystem."""
    return pafs.PyFileSystem(pafs.FSSpecHandler(ZipFileSystem(fo=filesystem.open_input_file(path))))


def members(filesystem: pafs.FileSystem, path: str) -> list[tuple[str, int]]:
    """Names and unpacked sizes of an archive's files, sorted.

    Raises:
        zipfile.BadZipFile: it is not an archive.
    """
    with filesystem.open_input_file(path) as source, zipfile.ZipFile(source) as archive:
        return sorted((info.filename, info.file_size) for info in archive.infolist() if not info.is_dir())
