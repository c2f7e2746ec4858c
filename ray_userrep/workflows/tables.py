"""Tables in memory as a log on disk: each becomes a Parquet file beside the corpus, where every job finds it again.

The folder is named by what is written, so that the same tables are written and prepared once. It costs a copy of them.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from ray_userrep import storage
from ray_userrep.encoder.given import read_table
from ray_userrep.errors import UserError
from ray_userrep.recipe.fields import with_values
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.report.results import Result
from ray_userrep.workflows.prepare import run_prepare


def run_prepare_tables(recipe: Recipe, log: Any, users: Any, items: Any, columns: Mapping[str, str] | None) -> Result:
    """Prepare a table of interactions, or several by their event, with tables of users and items.

    Raises:
        UserError: the recipe names a log, or what is given is no table.
    """
    if recipe.logs.uri is not None:
        raise UserError(f"the recipe names a log of its own, {recipe.logs.uri}: leave it out, or use prepare(recipe)")
    several = dict(log) if isinstance(log, Mapping) else {None: log}
    places = {event: f"{number}.parquet" for number, event in enumerate(several)}
    beside = {kind: table for kind, table in (("users", users), ("items", items)) if table is not None}
    named = {f"log/{places[event]}": read_table(table, "interactions") for event, table in several.items()}
    folder = _written(
        _home(recipe), named | {f"{kind}.parquet": read_table(table, kind) for kind, table in beside.items()}
    )
    fields: dict[str, Any] = {f"logs.{kind}": storage.join(folder, f"{kind}.parquet") for kind in beside}
    fields |= {"logs.uri": storage.join(folder, "log")} | ({"logs.events": places} if isinstance(log, Mapping) else {})
    return run_prepare(with_values(recipe, fields if columns is None else fields | {"logs.columns": dict(columns)}))


def _written(home: str, tables: Mapping[str, pa.Table]) -> str:
    """The folder of the tables, written where it is not there: written again, they would be prepared again."""
    data = {name: storage.parquet_bytes(table) for name, table in tables.items()}
    told = "".join(f"{name} {storage.checksum(one)}" for name, one in data.items())
    folder = storage.join(home, hashlib.sha256(told.encode()).hexdigest()[:12])
    for name, one in data.items():
        if not storage.exists(storage.join(folder, name)):
            storage.write_bytes(storage.join(folder, name), one)
    return folder


def _home(recipe: Recipe) -> str:
    """Beside the corpus, which may not lie in its log's folder nor the other way round."""
    if recipe.corpus.uri is None:
        return storage.join(storage.home(), "tables")
    return f"{storage.kept(recipe.corpus.uri)}-tables"
