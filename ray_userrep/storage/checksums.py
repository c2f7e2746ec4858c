"""What the files of a folder held when it was finished: the SHA-256 of each, by name, in `checksums.json` beside them.

What was changed since is found when it is read, for the price of reading every file once more. Whoever may write into
the folder may write its checksums as well: they show accidents, not forgers.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ray_userrep.errors import UserError
from ray_userrep.storage.documents import read_object, write_json
from ray_userrep.storage.failures import user_errors
from ray_userrep.storage.files import local_copy, open_fs, open_stream, pieces
from ray_userrep.storage.uri import join

CHECKSUMS = "checksums.json"


def write_checksums(folder: str, names: Iterable[str], coming: Mapping[str, bytes] | None = None) -> None:
    """Write down what the named files of a folder hold, and what `coming` ones will hold that are written next."""
    known = {name: sha256(join(folder, name)) for name in names}
    known |= {name: hashlib.sha256(data).hexdigest() for name, data in (coming or {}).items()}
    write_json(join(folder, CHECKSUMS), known)


def changed(folder: str, names: Iterable[str]) -> str | None:
    """The first file that is not what was written down, out of those that were and those that are named.

    Raises:
        UserError: nothing was written down.
    """
    known = read_object(join(folder, CHECKSUMS))
    for name in sorted({*known, *names}):
        place = join(folder, name)
        if not _is_file(place) or sha256(place) != known.get(name):
            return name
    return None


@contextmanager
def unchanged(uri: str, known: str) -> Iterator[Path | None]:
    """A file on this machine's disk inside the block; None where it is missing or has another SHA-256."""
    with ExitStack() as stack:
        try:
            path = stack.enter_context(local_copy(uri))
            is_same = sha256(str(path)) == known
        except UserError:
            is_same = False
        yield path if is_same else None


def _is_file(uri: str) -> bool:
    with user_errors(uri):
        filesystem, path = open_fs(uri)
        return bool(filesystem.get_file_info(path).is_file)


def sha256(uri: str) -> str:
    """The SHA-256 of a file; it is read piece by piece."""
    digest = hashlib.sha256()
    with user_errors(uri), open_stream(uri, None) as source:
        for piece in pieces(source):
            digest.update(piece)
    return digest.hexdigest()
