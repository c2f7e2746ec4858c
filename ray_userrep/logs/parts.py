"""The canonical rows of a log in parts, each read by one task: of Ray Data, or of this process where it works alone.

No part is held whole. Tables that Ray Data has readers for come as its Dataset, for which Ray has to be there.
"""

import pickle
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import pyarrow as pa
import ray
from ray import cloudpickle

from ray_userrep.logs.tasks import run

if TYPE_CHECKING:
    from ray.data import Dataset  # a job that is alone does without the time that it takes to import

Read = Callable[[], Iterator[pa.Table]]
Task = Callable[[pa.Table], pa.Table]
Take = Callable[[dict[str, Any]], None]


class Parts(NamedTuple):
    """What reads each part of a log, table by table, and what the tables are like."""

    reads: tuple[Read, ...]
    schema: pa.Schema

    def joined(self, others: "Parts") -> "Parts":
        """These parts, then the others."""
        return Parts(self.reads + others.reads, self.schema)


Interactions: TypeAlias = "Parts | Dataset"


def whole(table: pa.Table) -> Parts:
    """A table that is here already, as one part."""
    return Parts((partial(iter, (table,)),), table.schema)


def schema_of(interactions: Interactions) -> pa.Schema:
    """The columns of canonical rows."""
    return interactions.schema if isinstance(interactions, Parts) else interactions.schema().base_schema


def dataset_of(interactions: Interactions) -> "Dataset":
    """The rows as Ray Data reads them, a task a part."""
    if not isinstance(interactions, Parts):
        return interactions

    def read(batch: pa.Table) -> Iterator[pa.Table]:
        for part in batch.column("part").to_pylist():
            yield from pickle.loads(part)()

    parts = [{"part": cloudpickle.dumps(one)} for one in interactions.reads]  # a task is sent its own part only
    return ray.data.from_items(parts, override_num_blocks=len(parts)).map_batches(
        read, batch_size=1, batch_format="pyarrow"
    )


def each(interactions: Interactions, task: Task, take: Take) -> None:
    """Call a task with every table that is read; the rows of what it returns are taken as they come."""

    def take_all(_: int, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            take(row)

    if isinstance(interactions, Parts) and not ray.is_initialized():
        run([(_rows_of, read, task) for read in interactions.reads], take_all)
        return
    # Whole blocks: to fill batches of a given size, Ray Data would have one task read everything.
    made = dataset_of(interactions).map_batches(partial(_made, task=task), batch_format="pyarrow", batch_size=None)
    for row in made.iter_rows():
        take(row)


def _rows_of(read: Read, task: Task) -> list[dict[str, Any]]:
    return [row for table in read() for row in task(table).to_pylist()]


def _made(batch: pa.Table, task: Task) -> Iterator[pa.Table]:
    """What a task makes of a batch; a generator, since Ray Data drops the cause of any other function's error."""
    yield task(batch)
