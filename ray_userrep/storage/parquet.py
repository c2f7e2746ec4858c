"""Parquet at any URI, as tables and as streams of tables."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from ray_userrep.errors import UserError
from ray_userrep.storage.failures import again, user_errors
from ray_userrep.storage.files import checksum, open_fs, sink, write_bytes

T = TypeVar("T")


def read_parquet(uri: str, columns: list[str] | None = None) -> pa.Table:
    """A Parquet file; folder names such as `bucket=3` add no columns.

    Raises:
        UserError: the file is missing or is not Parquet.
    """

    def read(source: pa.NativeFile) -> pa.Table:
        table = pq.ParquetFile(source, pre_buffer=True).read(columns)
        table.validate(full=True)  # text that is not UTF-8 and lists beyond their values are read as they are
        return table

    return _opened(uri, read)


def filter_parquet(uri: str, is_kept: Callable[[pa.Table], pa.Array]) -> pa.Table:
    """The rows of a Parquet file that are kept; it is read in batches, so that the others take no memory.

    Raises:
        UserError: the file is missing or is not Parquet.
    """

    def read(source: pa.NativeFile) -> pa.Table:
        file = pq.ParquetFile(source)
        tables = (pa.Table.from_batches([batch]) for batch in file.iter_batches())
        return pa.concat_tables([file.schema_arrow.empty_table(), *(rows.filter(is_kept(rows)) for rows in tables)])

    return _opened(uri, read)


def read_schema(uri: str) -> pa.Schema:
    """The columns of a Parquet file.

    Raises:
        UserError: the file is missing or is not Parquet.
    """
    return _opened(uri, pq.read_schema)


def _opened(uri: str, read: Callable[[pa.NativeFile], T]) -> T:
    """What is read of an opened file, again where a store fails for a moment."""

    def opened() -> T:
        with filesystem.open_input_file(path) as source:
            return read(source)

    with _readable(uri):
        filesystem, path = open_fs(uri)
        return again(opened)


@contextmanager
def _readable(uri: str) -> Iterator[None]:
    """Turn what reading a damaged file raises into one clear line; let a failing disk or store through."""
    with user_errors(uri):
        try:
            yield
        except (pa.ArrowException, OSError, UnicodeError) as error:
            is_of_store = isinstance(error, FileNotFoundError) or "AWS Error" in str(error)
            if isinstance(error, OSError) and (error.errno is not None or is_of_store):
                raise
            raise UserError(f"{uri} is not a readable Parquet file: {error}") from error


def write_parquet(uri: str, table: pa.Table, dictionary: bool | list[str] = True) -> str:
    """Write a table as zstd-compressed Parquet and return the file's checksum; the bytes are held in memory.

    `dictionary` names the leaf columns that repeat few values, or says it of all or none.
    """
    data = parquet_bytes(table, dictionary)
    write_bytes(uri, data)
    return checksum(data)


def parquet_bytes(table: pa.Table, dictionary: bool | list[str] = True) -> pa.Buffer:
    """A table as zstd-compressed Parquet."""
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd", use_dictionary=dictionary)
    return buffer.getvalue()


@contextmanager
def parquet_writer(uri: str, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Write a Parquet file table by table, a row group each; it appears when the block ends well."""
    with user_errors(uri), sink(uri) as target, pq.ParquetWriter(target, schema, compression="zstd") as writer:
        yield writer
