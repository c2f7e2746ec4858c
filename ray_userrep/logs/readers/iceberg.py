"""An Iceberg table in its folder, read by Ray Data at its newest version; needs the extra `tables`.

No catalogue is asked: what counts as newest is the highest number among `metadata/*.metadata.json`. See `versioned` for
types and order.
"""

import os
import re

import pyarrow as pa
import ray

from ray_userrep.errors import UserError
from ray_userrep.logs.connection import connect
from ray_userrep.logs.source import Tables
from ray_userrep.logs.versioned import interactions, package_missing, s3_endpoint
from ray_userrep.recipe.logs import LogsConfig
from ray_userrep.storage import FileEntry

_METADATA = re.compile(r"(?:.*/)?metadata/v?(\d+)[^/]*\.metadata\.json(\.gz)?")
_CATALOG = "ray_userrep.logs.iceberg_folder.FolderCatalog"


def recognise(names: list[str]) -> bool:
    """A `metadata/NUMBER-….metadata.json` or `metadata/vNUMBER.metadata.json`."""
    return any(_METADATA.fullmatch(name) for name in names)


def read(config: LogsConfig, files: list[FileEntry]) -> Tables:
    """Canonical interactions of the table.

    Raises:
        UserError: there is not exactly one table, or the package is missing.
    """
    versions = {int(found[1]): file.uri for file in files if (found := _METADATA.fullmatch(file.uri))}
    places = {uri.rpartition("/metadata/")[0] for uri in versions.values()}
    if len(places) != 1:
        raise UserError(f"one Iceberg table is needed, {len(files)} files hold {len(places)}")
    try:
        from pyiceberg.exceptions import NoSuchTableError  # noqa: F401
    except ImportError as error:
        raise package_missing("pyiceberg", error) from error
    newest = versions[max(versions)]
    connect()
    dataset = ray.data.read_iceberg(
        table_identifier=newest, catalog_kwargs={"name": "folder", "py-catalog-impl": _CATALOG, **_options()}
    )
    schema = dataset.schema()
    fields = [] if schema is None else zip(schema.names, schema.types, strict=True)
    return Tables(interactions(config, dataset, pa.schema(list(fields)), places.pop()), None, None, "time")


def _options() -> dict[str, str]:
    """Where S3 is; keys come from the usual AWS places."""
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    told = {"s3.endpoint": s3_endpoint(), "s3.region": region}
    return {name: value for name, value in told.items() if value}
