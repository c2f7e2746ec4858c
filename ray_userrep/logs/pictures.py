"""Pictures of items: a folder, a tar or a zip of files named by item id, or the column `image` of the table of items.

They are read whole into the table, as texts are; a million pictures of 10 kB are 10 GB on the way into a corpus. Each
is looked at once, so that nothing that trains meets one that cannot be decoded: a picture that cannot be used is left
out and counted, and the first are named.
"""

import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.logs.dimensions import keyed
from ray_userrep.logs.numbers import EXAMPLES, Unread
from ray_userrep.storage.pictures import unusable

IMAGE = "image"
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
_TAR = (".tar", ".tar.gz", ".tgz")
_BATCH = 256  # pictures looked at by a thread


class _Picture(NamedTuple):
    name: str
    data: bytes


def named_pictures(place: str, kind: pa.DataType) -> pa.Table:
    """`item_id` and `image` of every picture at a place; of several files with one id the first by name counts.

    Raises:
        UserError: there is nothing, no file is named as pictures are, or none by an id of the log's type.
    """
    found = sorted(_read(place))
    if not found:
        raise UserError(f"logs.images: no file in {place} is named as a picture: they end in {', '.join(_SUFFIXES)}")
    ids = pa.array([PurePosixPath(one.name).stem for one in found])
    table = pa.table({"item_id": ids, IMAGE: pa.array([one.data for one in found], pa.large_binary())})
    return keyed(table, "item_id", kind, place)


def with_pictures(items: pa.Table | None, pictures: pa.Table) -> pa.Table:
    """The table of items with named pictures as its column `image`; items of whom there is only a picture come last."""
    if items is None:
        return pictures
    ids = pictures["item_id"].cast(items["item_id"].type)
    rows = pc.index_in(items["item_id"], value_set=ids.combine_chunks())
    others = [name for name in items.column_names if name != IMAGE]
    table = items.select(others).append_column(IMAGE, pictures[IMAGE].take(rows))
    is_new = pc.invert(pc.is_in(ids, value_set=items["item_id"].combine_chunks()))
    new = pictures.set_column(0, "item_id", ids).filter(is_new)
    return pa.concat_tables([table, new], promote_options="default")


def usable_pictures(items: pa.Table) -> tuple[pa.Table, Unread | None]:
    """A table of items without those pictures that cannot be used, and what was left out.

    A column `image` that holds no bytes, as addresses of pictures, is left as it is.
    """
    kind = items[IMAGE].type if IMAGE in items.column_names else None
    if kind is None or not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        return items, None
    pictures = items[IMAGE].cast(pa.large_binary())
    with ThreadPoolExecutor() as threads:  # decoding lets the interpreter go
        starts = range(0, len(pictures), _BATCH)
        parts = threads.map(lambda start: _reasons(pictures.slice(start, _BATCH)), starts)
        reasons = pa.chunked_array([pa.array([], pa.string()), *parts])
    kept = pc.if_else(pc.is_valid(reasons), pa.scalar(None, pa.large_binary()), pictures)
    items = items.set_column(items.column_names.index(IMAGE), IMAGE, kept)
    lost = pa.table({"id": items["item_id"], "reason": reasons}).filter(pc.is_valid(reasons))
    examples = [f"item {row['id']}: {row['reason']}" for row in lost[:EXAMPLES].to_pylist()]
    return items, Unread(count=len(lost), examples=examples, wanted="pictures") if len(lost) else None


def _reasons(pictures: pa.ChunkedArray) -> pa.Array:
    return pa.array([None if data is None else unusable(data) for data in pictures.to_pylist()], pa.string())


def _read(place: str) -> Iterator[_Picture]:
    if place.lower().endswith(_TAR):
        yield from _in_tar(place)
        return
    files = storage.list_archive(place) if place.lower().endswith(".zip") else storage.list_files(place)
    for file in files:
        if file.uri.lower().endswith(_SUFFIXES):
            yield _Picture(file.uri.rsplit("/", 1)[-1], storage.read_bytes(file.uri))


def _in_tar(place: str) -> Iterator[_Picture]:
    """Members are read one by one and never written anywhere, whatever they are called."""
    try:
        with (
            storage.user_errors(place),
            storage.open_stream(place, buffer_size=2**20) as source,
            tarfile.open(fileobj=source, mode="r|*") as tar,
        ):
            for member in tar:
                data = tar.extractfile(member) if member.isfile() else None
                if data is not None and member.name.lower().endswith(_SUFFIXES):
                    yield _Picture(member.name.rsplit("/", 1)[-1], data.read())
    except tarfile.TarError as error:
        raise UserError(f"logs.images: {place} cannot be read as a tar archive: {error}") from error
