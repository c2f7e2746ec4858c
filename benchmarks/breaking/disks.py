"""Disks that are small, full or read-only: memory mounted as a folder, which takes root."""

import errno
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PIECE, _TRIES = 4096, 1000


@contextmanager
def small_disk(folder: Path, kibibytes: int) -> Iterator[Path]:
    """A folder on a disk of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        _run("umount", "--lazy", str(folder))


def resize(folder: Path, kibibytes: int) -> None:
    """Give the folder's disk another size."""
    _run("mount", "-o", f"remount,size={kibibytes}k", str(folder))


def fill(folder: Path) -> Path:
    """Fill the folder's disk; the file to delete to have room again."""
    filler = folder / ".filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(_PIECE)):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
    return filler


def read_only(folder: Path, is_on: bool) -> None:
    """Make the folder's disk read-only, as soon as no file is open to be written, or writable again."""
    for _ in range(_TRIES):
        with suppress(subprocess.CalledProcessError):
            return _run("mount", "-o", f"remount,{'ro' if is_on else 'rw'}", str(folder))
        time.sleep(0.01)
    raise TimeoutError(f"{folder} is always being written to")


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)
