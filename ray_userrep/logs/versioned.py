"""Tables that keep their own history (Delta, Iceberg) as canonical interactions, read by Ray Data's own readers.

Such a table has types of its own, which are taken at their word, and no order: interactions of a user at the same time
follow a hash of what they hold, the same on every read. Rows that are equal in everything share their number.
"""

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from ray_userrep.errors import UserError
from ray_userrep.logs.canonical import OPTIONAL, REQUIRED, ColumnMapping, canonicalise, require_columns
from ray_userrep.logs.hive import in_range
from ray_userrep.logs.ids import is_text
from ray_userrep.logs.times import ISO
from ray_userrep.recipe.logs import LogsConfig

if TYPE_CHECKING:
    from ray.data import Dataset


def interactions(config: LogsConfig, dataset: "Dataset", schema: pa.Schema, place: str) -> "Dataset":
    """Canonical interactions of a table whose columns have canonical names, or those of `logs.columns`.

    Raises:
        UserError: a column is missing, an id is of a type that holds none, or the order of the rows is asked for.
    """
    if config.order == "row":
        raise UserError(f"logs.order row: the rows of the table {place} have no order of their own")
    known = {name: name for name in (*REQUIRED, *OPTIONAL)} | config.columns
    columns = {name: column for name, column in known.items() if column in schema.names or name in REQUIRED}
    mapping = ColumnMapping(columns, pa.string(), pa.string(), config.timestamp_unit, (config.timestamp_format or ISO,))
    require_columns(schema.names, mapping, place)
    user_type, item_type = (_id_type(schema.field(columns[name]), config, place) for name in ("user_id", "item_id"))
    mapping = replace(mapping, user_type=user_type, item_type=item_type)

    dated = config.from_date is not None or config.to_date is not None

    def read(raw: pa.Table) -> pa.Table:
        rows = canonicalise(raw, mapping, place, 0)
        rows = rows.filter(in_range(config, rows)) if dated else rows
        return rows.set_column(rows.column_names.index("row"), "row", _numbers(rows.drop_columns(["row"])))

    return dataset.select_columns(list(dict.fromkeys(columns.values()))).map_batches(read, batch_format="pyarrow")


def package_missing(package: str, error: ImportError) -> UserError:
    """What to do about a package that is not installed."""
    return UserError(f"reading this table needs the package {package}: pip install 'ray_userrep[tables]' ({error})")


def s3_endpoint() -> str | None:
    """The address of an S3 that is not Amazon's."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def _id_type(field: pa.Field, config: LogsConfig, place: str) -> pa.DataType:
    if is_text(field.type) or config.ids == "string":
        return pa.string()
    if pa.types.is_integer(field.type) or pa.types.is_floating(field.type):
        return pa.int64()
    raise UserError(f"column {field.name!r} of {place} is {field.type}: ids are text or whole numbers")


def _numbers(rows: pa.Table) -> pa.Array:
    hashed = pd.util.hash_pandas_object(rows.to_pandas(types_mapper=pd.ArrowDtype), index=False)
    return pa.array((hashed.to_numpy() >> np.uint64(1)).astype(np.int64))
