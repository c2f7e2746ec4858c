"""Parquet at any URI, as tables and as streams of tables."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from ray_userrep.errors import UserError
from ray_userrep.storage.files import again, open_fs, sink, user_errors, write_bytes


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


def filter_parquet(uri: str, is_kept: Callable[[pa.Table], pa.Array]) -> pa.Table:
    """The rows of a Parquet file that are kept; it is read in batches, so that the others take no memory."""
    filesystem, path = open_fs(uri)

    def read() -> pa.Table:
        with filesystem.open_input_file(path) as source:
            file = pq.ParquetFile(source)
            tables = (pa.Table.from_batches([batch]) for batch in file.iter_batches())
            return pa.concat_tables([file.schema_arrow.empty_table(), *(rows.filter(is_kept(rows)) for rows in tables)])

    with user_errors(uri):
        return again(read)


def read_schema(uri: str) -> pa.Schema:
    """The columns of a Parquet file."""
    filesystem, path = open_fs(uri)

    def read() -> pa.Schema:
        with filesystem.open_input_file(path) as source:
            return pq.read_schema(source)

    with user_errors(uri):
        return again(read)


def write_parquet(uri: str, table: pa.Table, dictionary: bool | list[str] = True) -> None:
    """Write a table as zstd-compressed Parquet; the compressed bytes are held in memory.

    `dictionary` names the leaf columns that repeat few values, or says it of all or none.
    """
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd", use_dictionary=dictionary)
    write_bytes(uri, buffer.getvalue())


@contextmanager
def parquet_writer(uri: str, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Write a Parquet file table by table, a row group each; it appears when the block ends well."""
    with user_errors(uri), sink(uri) as target, pq.ParquetWriter(target, schema, compression="zstd") as writer:
        yield writer
