"""Files that cannot be read, told apart from stores that do not answer.

A damaged file costs its own rows, which the quarantine counts; a store or a disk that fails costs the job, since its
rows are still there. Damage below the library's own checks (a flipped bit in stored text) is not seen.
"""

import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.storage import FileEntry

UNREADABLE_FILE = "unreadable_file"
MISSING_FILE = "missing_file"
OTHER_SCHEMA = "other_schema"
EMPTY_FILE = "empty_file"
WHOLE_FILE = (UNREADABLE_FILE, MISSING_FILE, OTHER_SCHEMA)  # a record of these stands for more rows than one

_DAMAGE = (
    pa.ArrowInvalid,
    pa.ArrowTypeError,
    pa.ArrowKeyError,
    pa.ArrowNotImplementedError,
    OSError,
    *storage.ARCHIVE_DAMAGE,
    lzma.LZMAError,
    UnicodeError,
    zipfile.BadZipFile,
    zlib.error,
)
_STORE = "AWS Error"
_NO_OBJECT = "NO_SUCH_KEY"


class DamagedFile(UserError):
    """What is in a file is not what its name says; `reason` is the quarantine's word for it."""

    reason = UNREADABLE_FILE


class MissingFile(DamagedFile):
    """A file was listed and is gone."""

    reason = MISSING_FILE


class OtherSchema(DamagedFile):
    """A file lacks what the log's other files have, or has it in a type of its own."""

    reason = OTHER_SCHEMA


@contextmanager
def readable(file: FileEntry) -> Iterator[None]:
    """Turn what reading a damaged file raises into one clear line; let a failing store through.

    Raises:
        DamagedFile: the file is gone, or cannot be read as what its name says.
        UserError: the store refuses, in words.
    """
    with storage.user_errors(file.uri):
        try:
            yield
        except _DAMAGE as error:
            if isinstance(error, FileNotFoundError) or _NO_OBJECT in str(error):
                raise MissingFile(f"{file.uri}: there is nothing here") from error
            if isinstance(error, OSError) and (error.errno is not None or _STORE in str(error)):
                raise  # a disk, a network or a store: the rows are still there
            if isinstance(error, UnicodeError):
                raise DamagedFile(f"{file.uri} is in another encoding: see logs.layout.encoding ({error})") from error
            raise DamagedFile(f"{file.uri} cannot be read: {str(error).splitlines()[0]}") from error
