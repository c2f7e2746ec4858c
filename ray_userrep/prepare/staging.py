"""Staged tables: one file of many slices, each an Arrow stream that is read alone, by its range of bytes.

Uncompressed: writing, reading and concatenating slices costs no more than copying them, for two or three times the
space of compressed Parquet until the build is published. One file a task instead of one a slice spares an object store
most of its requests.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_userrep import storage

SLICE_ROWS = 2**14  # of tables that are read by ranges of rows
_THREADS = 8
_OFFSET = np.dtype("<i8")


def write_slices(uri: str, table: pa.Table, bounds: Sequence[int] | NDArray[np.integer]) -> None:
    """Write a table cut at the given rows, of which the first is 0 and the last its length."""
    streams = [_stream(table.slice(low, high - low)) for low, high in pairwise(np.asarray(bounds).tolist())]
    sizes = [len(bounds) * _OFFSET.itemsize, *(len(stream) for stream in streams)]
    storage.write_bytes(uri, b"".join([np.cumsum(sizes).astype(_OFFSET).tobytes(), *streams]))


def write_by_slice(uri: str, table: pa.Table, slice_N: NDArray[np.integer], num_slices: int) -> list[int]:
    """Write rows by the slices that they belong to, in their order inside each; how many each slice got."""
    small_N = slice_N.astype(np.uint16 if num_slices <= 2**16 else np.int64)  # numpy sorts 16 bits by radix
    sizes = np.bincount(slice_N, minlength=num_slices)
    by_slice = table.take(pa.array(np.argsort(small_N, kind="stable")))
    write_slices(uri, by_slice, np.append(0, np.cumsum(sizes)))
    found: list[int] = sizes.tolist()
    return found


def write_rows(uri: str, table: pa.Table) -> None:
    """Write a table so that any range of its rows can be read."""
    write_slices(uri, table, [*range(0, table.num_rows, SLICE_ROWS), table.num_rows])


def read_slices(uris: Sequence[str], number: int) -> list[pa.Table]:
    """The slice of this number of each file, in the order of the files; empty ones are left out."""
    found = in_threads(lambda uri: _slices(uri, number, number + 1), uris)
    return [table for tables in found for table in tables]


def read_rows(uri: str, low: int, high: int) -> pa.Table | None:
    """Rows `low` to `high` of a file of `write_rows`, None where that is none."""
    if low >= high:
        return None
    first = low // SLICE_ROWS
    table = pa.concat_tables(_slices(uri, first, -(-high // SLICE_ROWS)))
    return table.slice(low - first * SLICE_ROWS, high - low)


def in_threads(read: Callable[[Any], Any], arguments: Iterable[Any]) -> list[Any]:
    """Results in order; an object store answers many requests in the time of one."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(read, arguments))


def _stream(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    if table.num_rows:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table.combine_chunks())
    return sink.getvalue()


def _slices(uri: str, first: int, last: int) -> list[pa.Table]:
    """Slices `first` to `last`, which lie side by side."""
    with storage.user_errors(uri):
        offsets, data = storage.again(lambda: _read(uri, first, last))
    cuts = pairwise((offsets - offsets[0]).tolist())
    return [pa.ipc.open_stream(data.slice(low, high - low)).read_all() for low, high in cuts if low < high]


def _read(uri: str, first: int, last: int) -> tuple[NDArray[np.int64], pa.Buffer]:
    filesystem, path = storage.open_fs(uri)
    with filesystem.open_input_file(path) as source:
        table = source.read_at((last - first + 1) * _OFFSET.itemsize, first * _OFFSET.itemsize)
        offsets = np.frombuffer(table, _OFFSET)
        return offsets, pa.py_buffer(source.read_at(int(offsets[-1] - offsets[0]), int(offsets[0])))
