"""A Delta table, read by Ray Data at its newest version; needs the extra `tables`.

What a table says of its items and users is not read. See `versioned` for types and order.
"""

import pyarrow as pa
import ray

from ray_userrep.errors import UserError
from ray_userrep.logs.connection import connect
from ray_userrep.logs.listing import DELTA_HISTORY
from ray_userrep.logs.source import Tables
from ray_userrep.logs.versioned import interactions, package_missing, s3_endpoint
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry


def recognise(names: list[str]) -> bool:
    """A folder with a `_delta_log`."""
    return any(name.startswith(f"{DELTA_HISTORY}/") for name in names)


def read(config: LogsConfig, files: list[FileEntry]) -> Tables:
    """Canonical interactions of the table.

    Raises:
        UserError: there is no table, the package is missing, or the table uses what it cannot read.
    """
    mark = f"/{DELTA_HISTORY}/"
    places = {file.uri.partition(mark)[0] for file in files if mark in file.uri}
    if len(places) != 1:
        raise UserError(f"one Delta table is needed, {len(files)} files hold {len(places)}")
    place = places.pop()
    try:
        from deltalake.exceptions import DeltaError
    except ImportError as error:
        raise package_missing("deltalake", error) from error
    connect()
    try:
        dataset = ray.data.read_delta(place, storage_options=_options())
    except DeltaError as error:
        raise UserError(f"{place} cannot be read as a Delta table: {error}") from error
    schema = dataset.schema()
    fields = [] if schema is None else zip(schema.names, schema.types, strict=True)
    return Tables(interactions(config, dataset, pa.schema(list(fields)), place), None, None, "time")


def _options() -> dict[str, str] | None:
    """The package reads the AWS variables itself, but allows no plain HTTP."""
    return {"aws_allow_http": "true"} if (s3_endpoint() or "").startswith("http:") else None
