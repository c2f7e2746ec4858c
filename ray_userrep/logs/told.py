"""What is read of plain tables, in a line each before the work starts: files, what their columns mean, and what meets.

How many users and items of the log the tables beside it know is counted in the log's first rows only; over all of them
it is known at the end.
"""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep.logs.beside import KEYS, BesideTable
from ray_userrep.logs.reading import Scan

_SHOWN = 12  # columns


def tell_log(log: Scan) -> None:
    """Say which files are read, what their columns mean, and which are not used."""
    files = {piece.part.file.uri: piece.columns for piece in log.work if piece.refusal is None}
    own = dict.fromkeys(column for columns in files.values() for column in columns)
    sources = {source: name for name, source in log.mapping.columns.items()}
    meant = [_meaning(source, name) if source in own else f"{name} by its file" for source, name in sources.items()]
    unused = [column for column in own if column not in sources]
    place = next(iter(files)) + (f" and {len(files) - 1:,} more" if len(files) > 1 else "")
    print(f"log       {place}: {', '.join(meant)}{_listed('not used', unused)}", flush=True)


def tell_beside(table: BesideTable, rows: pa.Table, first: pa.Table | None) -> None:
    """Say what a table beside the log holds, and how many of the ids in the log's first rows."""
    key, meant = KEYS[table.kind], [_meaning(source, name) for source, name in table.names.items()]
    others = [name for name in rows.column_names if name not in table.names.values()]
    met = ""
    if first is not None:
        ids = first[key].unique().drop_null()
        there = pc.sum(pc.is_in(ids, value_set=rows[key].combine_chunks())).as_py() or 0
        met = f"; of {len(ids):,} {table.kind} in the first rows of the log it has {there:,}"
    told = f"{table.place}: {rows.num_rows:,} {table.kind}, {', '.join(meant)}{met}{_listed('also kept', others)}"
    print(f"{table.kind:9s} {told}", flush=True)


def _meaning(source: str, name: str) -> str:
    return name if source == name else f"{source} → {name}"


def _listed(what: str, columns: Iterable[str]) -> str:
    names = list(columns)
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return f"; {what}: {', '.join(names[:_SHOWN])}{more}" if names else ""
