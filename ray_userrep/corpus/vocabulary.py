"""Numbering the items: partial counts of the log become the item table, whose row order is the item index.

The table is made whole in one process: a catalogue is small beside its log, and every later stage needs all of it.
"""

import pyarrow as pa
import pyarrow.compute as pc

from ray_userrep import storage

_FILES_AT_ONCE = 64  # partial counts in memory together; each may hold the whole vocabulary


def merge_counts(files: list[str]) -> pa.Table:
    """Items with their counts, summed over files of partial counts; the most frequent first, then by id."""
    merged: list[pa.Table] = []
    for start in range(0, len(files), _FILES_AT_ONCE):
        merged += [storage.read_parquet(file) for file in files[start : start + _FILES_AT_ONCE]]
        total = pa.concat_tables(merged).group_by("item_id").aggregate([("count", "sum")])
        merged = [total.rename_columns(["item_id", "count"])]
    return merged[0].sort_by([("count", "descending"), ("item_id", "ascending")])


def describe(items: pa.Table, described: pa.Table | None) -> pa.Table:
    """The items with a log's item columns beside them, null where the log says nothing of an item.

    `item_id` and `count` are the corpus's own; columns of any type are carried along, nested ones too.
    """
    if described is None:
        return items
    ids = described["item_id"].cast(items["item_id"].type).combine_chunks()
    rows = pc.index_in(items["item_id"], value_set=ids)
    for name in described.column_names:
        if name not in ("item_id", "count"):
            items = items.append_column(name, described[name].take(rows))
    return items
