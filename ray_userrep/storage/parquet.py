"""Parquet at any URI, as tables and as streams of tables."""

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from ray_userrep.errors import UserError
from ray_userrep.storage.files import again, checksum, open_fs, sink, user_errors, write_bytes


def read_parquet(uri: str, columns: list[str] | None = None) -> pa.Table:
    """A Parquet file; folder names such as `bucket=3` add no columns.

    Raises:
        UserError: the file is missing or is not Parquet.
    """
    with user_errors(uri):
        filesystem, path = open_fs(uri)

        def read() -> pa.Table:
            with filesystem.open_input_file(path) as source:
                return pq.ParquetFile(source, pre_buffer=True).read(columns)

        try:
            return again(read)
        except pa.ArrowInvalid as error:
            raise UserError(f"{uri} is not a readable Parquet file: {error}") from error


def read_schema(uri: str) -> pa.Schema:
    """The columns of a Parquet file."""
    filesystem, path = open_fs(uri)

    def read() -> pa.Schema:
        with filesystem.open_input_file(path) as source:
            return pq.read_schema(source)

    with user_errors(uri):
        return again(read)


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
