"""Numbering the items across the cluster: an item's index is its place by count, the most frequent first, then by id.

The buckets' own counts, sorted by id, are cut into ranges of ids that one task sums. Where ranges follow the order of
ids, the place of an item is how many items of all ranges are more frequent, how many as frequent ones lie in ranges
before, and its place among these in its own: the driver adds up how many items have each count and sees no id, save
for one in `SLICE_ROWS` of every bucket, which the ranges are cut by.

Shapes: R ranges, M entries of a range over all buckets, K distinct counts of a range, C distinct items of a bucket.
"""

import hashlib
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_userrep import storage
from ray_userrep.corpus.draws import hash_ids
from ray_userrep.prepare.staging import SLICE_ROWS, in_threads, read_rows, read_slices, write_rows, write_slices

_RANGE_SLICES = 128  # 2 million entries in one task's memory, about
_ROW_GROUP = 2**20
SHOWN_IDS = 3

Id = int | str


class Counted(NamedTuple):
    """The item counts of one bucket: a file sorted by id, and the first id of each of its slices."""

    uri: str
    num_distinct: int
    samples: list[Id]


@dataclass(frozen=True)
class Vocabulary:
    """The numbered ranges: where their files are, and for each count in them the items before and their first index."""

    items: list[str]
    places: list[str]
    first_RK: list[NDArray[np.int64]]
    start_RK: list[NDArray[np.int64]]
    size_RK: list[NDArray[np.int64]]

    def __len__(self) -> int:
        return int(sum(size_K.sum() for size_K in self.size_RK))

    def indices(self, bucket: int) -> NDArray[np.int64]:
        """The index of each item of the bucket that was counted as the given one, `[C]`."""
        # A range that this bucket has no item of is a slice of no bytes, which must not shift the ranges after it.
        places_R = in_threads(lambda uri: read_slices([uri], bucket), self.places)
        found = [
            self.index(number, table["place"].to_numpy()) for number, tables in enumerate(places_R) for table in tables
        ]
        return np.concatenate(found)

    def index(self, number: int, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The indices of the items at these places of a range."""
        first_K, start_K = self.first_RK[number], self.start_RK[number]
        kind = np.searchsorted(first_K, places, "right") - 1
        return (start_K - first_K)[kind] + places if len(first_K) else places

    def below(self, number: int, index: int) -> int:
        """How many items of a range come before an index."""
        return int(np.clip(index - self.start_RK[number], 0, self.size_RK[number]).sum())


def cuts(buckets: list[Counted]) -> list[Id]:
    """Ids that cut the entries of all buckets into ranges of about equal size."""
    samples: list[Any] = sorted(sample for bucket in buckets for sample in bucket.samples)
    return sorted(set(samples[_RANGE_SLICES::_RANGE_SLICES]) - {samples[0]})  # nothing comes before the first id


def count_range(number: int, low: Id | None, high: Id | None, buckets: list[Counted], build_uri: str) -> dict[str, Any]:
    """Sum the counts of the ids from `low` to before `high`, order them, and tell each bucket the places of its own."""
    parts = in_threads(lambda bucket: _part(bucket, low, high), buckets)
    bounds = np.append(0, np.cumsum([0 if part is None else part.num_rows for part in parts]))
    entries = pa.concat_tables(part for part in parts if part is not None)
    encoded = entries["item_id"].combine_chunks().dictionary_encode()
    codes_M = encoded.indices.to_numpy()
    counts = np.zeros(len(encoded.dictionary), np.int64)
    np.add.at(counts, codes_M, entries["count"].to_numpy())
    by_id = pc.sort_indices(encoded.dictionary).to_numpy()
    order = by_id[np.argsort(-counts[by_id], kind="stable")]
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    order = order[: np.count_nonzero(counts)]  # an item of none but capped interactions is none
    items = pa.table({"item_id": encoded.dictionary.take(pa.array(order)), "count": counts[order]})
    staged = {
        kind: storage.join(build_uri, "staging", "ranges", f"{number:05d}-{kind}") for kind in ("items", "places")
    }
    write_rows(staged["items"], items)
    write_slices(staged["places"], pa.table({"place": place[codes_M]}), bounds)
    values, sizes = np.unique(counts[order], return_counts=True)
    return {**staged, "counts": values[::-1].tolist(), "sizes": sizes[::-1].tolist()}


def _part(bucket: Counted, low: Id | None, high: Id | None) -> pa.Table | None:
    first, last = (_place(bucket, bound) for bound in (low, high))
    return read_rows(bucket.uri, first or 0, bucket.num_distinct if last is None else last)


def _place(bucket: Counted, bound: Id | None) -> int | None:
    """How many of a bucket's ids come before a bound; reads the one slice that can tell."""
    if bound is None:
        return None
    number = bisect_right(bucket.samples, bound) - 1
    if number < 0:
        return 0
    start = number * SLICE_ROWS
    ids = read_rows(bucket.uri, start, min(start + SLICE_ROWS, bucket.num_distinct))
    assert ids is not None, "a sample is the first id of a slice"
    return start + bisect_left(ids["item_id"].to_pylist(), bound)


def number_items(ranges: list[dict[str, Any]]) -> Vocabulary:
    """The index of the first item of each count in each range."""
    size_RK = [np.array(found["sizes"], np.int64) for found in ranges]
    counts = np.concatenate([np.array(found["counts"], np.int64) for found in ranges])
    number = np.repeat(np.arange(len(ranges)), [len(size_K) for size_K in size_RK])
    order = np.lexsort((number, -counts))
    start = np.empty(len(counts), np.int64)
    start[order] = _before(np.concatenate(size_RK)[order])
    start_RK = np.split(start, np.cumsum([len(size_K) for size_K in size_RK])[:-1])
    first_RK = [_before(size_K) for size_K in size_RK]
    return Vocabulary([r["items"] for r in ranges], [r["places"] for r in ranges], first_RK, start_RK, size_RK)


def _before(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.cumsum(sizes) - sizes


def write_items(vocabulary: Vocabulary, described: pa.Table | None, uri: str) -> dict[str, Any]:
    """Merge the ranges into one file by index, with what the log says of each item.

    Returns a digest of the ids, the first of them, of how many the log says something, and the file's checksum.
    """
    matched, digest, schema = 0, hashlib.sha256(), join_item_columns(_rows(vocabulary, 0, 1), described).schema
    with storage.parquet_writer(uri, schema) as writer:
        for low in range(0, len(vocabulary), _ROW_GROUP):
            piece = join_item_columns(_rows(vocabulary, low, low + _ROW_GROUP), described)
            writer.write_table(piece)
            digest.update(hash_ids(piece["item_id"]).data)
            matched += 0 if described is None else _num_described(piece["item_id"], described)
    first = _rows(vocabulary, 0, SHOWN_IDS)["item_id"].to_pylist()
    checksum = storage.file_checksum(uri)
    return {"content": digest.hexdigest(), "matched": matched, "first": first, "checksum": checksum}


def _num_described(ids: pa.ChunkedArray, described: pa.Table) -> int:
    known = described["item_id"].cast(ids.type).combine_chunks()
    found: int = pc.sum(pc.is_in(ids, value_set=known)).as_py() or 0
    return found


def _rows(vocabulary: Vocabulary, low: int, high: int) -> pa.Table:
    """The items of these indices, in their order."""
    tables, indices = [], []
    for number, uri in enumerate(vocabulary.items):
        first, last = vocabulary.below(number, low), vocabulary.below(number, high)
        piece = read_rows(uri, first, last)
        if piece is not None:
            tables.append(piece)
            indices.append(vocabulary.index(number, np.arange(first, last)))
    return pa.concat_tables(tables).take(pa.array(np.argsort(np.concatenate(indices))))


def join_item_columns(items: pa.Table, described: pa.Table | None) -> pa.Table:
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
