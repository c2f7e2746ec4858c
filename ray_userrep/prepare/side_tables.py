"""The tables beside a version's sequences: users' attributes and relations, the log's files, and what an append grows.

Users' attributes and relations are written by a task each that goes through the buckets, holding one bucket's ids at a
time beside the log's own table. The log's files, by name, size and stamp, are what an append leaves out; they are a
file of their own beside the manifest, which every reader loads and only an append wants them of. A table that grows
keeps the places of its rows, new ones come after them and newer values win; it is grown in one process, which is one
node's memory for the catalogue, and for what is known of users.

Shapes: U users of the log's table, V rows of the grown table.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_userrep import storage
from ray_userrep.corpus.draws import bucket_of, hash_ids
from ray_userrep.corpus.store import Corpus
from ray_userrep.errors import UserError
from ray_userrep.logs.source import Logs
from ray_userrep.prepare.vocabulary import SHOWN_IDS
from ray_userrep.storage import FileEntry


def write_users(users: pa.Table, files: dict[int, str], num_buckets: int, uri: str) -> dict[str, Any]:
    """Write the rows of users who have sequences; `files` are the sequences by bucket.

    Returns how many there are, and the first users of the log.
    """
    present_U, first = _present(users["user_id"].cast(_id_type(files)).combine_chunks(), files, num_buckets)
    checksum = storage.write_parquet(uri, users.filter(pa.array(present_U)))
    return {"matched": int(present_U.sum()), "first": first, "checksum": checksum}


def write_relations(relations: pa.Table, files: dict[int, str], num_buckets: int, uri: str) -> dict[str, Any]:
    """Write the relations between users who have sequences, each once; how many there are and what was left out."""
    kind = _id_type(files)
    relations = pa.table({name: _cast(relations[name], name, kind) for name in relations.column_names})
    ids = pc.unique(pa.chunked_array([*relations["user_id"].chunks, *relations["other_id"].chunks], kind))
    present_U, _ = _present(ids, files, num_buckets)
    kept, dropped = relations_between(relations, ids.filter(pa.array(present_U)))
    return {"num_relations": kept.num_rows, "dropped": dropped, "checksum": storage.write_parquet(uri, kept)}


def relations_between(relations: pa.Table, users: pa.Array) -> tuple[pa.Table, dict[str, int]]:
    """The relations of two different ones of these users, each once, and how many others there are, by reason."""
    ours = relations.filter(pc.and_(*(pc.is_in(relations[name], value_set=users) for name in ("user_id", "other_id"))))
    others = ours.filter(pc.not_equal(ours["user_id"], ours["other_id"]))
    once = others.group_by(others.column_names, use_threads=False).aggregate([])
    counts = [relations.num_rows, ours.num_rows, others.num_rows, once.num_rows]
    reasons = ("of users whom the log has not", "of a user to oneself", "repeated")
    return once, dict(zip(reasons, (before - after for before, after in pairwise(counts)), strict=True))


def tell_relations(num_relations: int, dropped: dict[str, int]) -> None:
    """Say how many relations there are, and how many were left out."""
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in dropped.items())
    print(f"prepare   relations    {num_relations:,} between users of the log; left out: {left_out}", flush=True)


def _cast(values: pa.ChunkedArray, name: str, id_type: pa.DataType) -> pa.ChunkedArray:
    return values if name == "kind" else values.cast(id_type)


def _present(ids: pa.Array, files: dict[int, str], num_buckets: int) -> tuple[NDArray[np.bool_], list[Any]]:
    """Which of these distinct users have sequences, and the first users who have some."""
    bucket_U = bucket_of(hash_ids(ids), num_buckets)
    by_bucket = np.argsort(bucket_U, kind="stable")
    bounds = np.searchsorted(bucket_U[by_bucket], np.arange(num_buckets + 1))
    present_U, first = np.zeros(len(ids), bool), list[Any]()
    for bucket, file in files.items():
        rows = by_bucket[bounds[bucket] : bounds[bucket + 1]]
        there = storage.read_parquet(file, ["user_id"])["user_id"].combine_chunks()
        present_U[rows] = pc.is_in(ids.take(pa.array(rows)), value_set=there).to_numpy(zero_copy_only=False)
        first = first or there[:SHOWN_IDS].to_pylist()
    return present_U, first


_FEW = 0.5


def refuse_unmet(logs: Logs, kind: Literal["item", "user"], told: dict[str, Any], num_ids: int) -> None:
    """Say of how many of the log's ids a table beside it tells; `told` has that, and the first of them.

    Where it lacks more than half of them, ids of both are shown.

    Raises:
        UserError: it lacks more than `logs.max_unmatched_share` of them, and is not just empty.
    """
    table = logs.items if kind == "item" else logs.users
    if table is None:
        return
    share = 1 - told["matched"] / num_ids
    message = f"the table of {kind}s beside the log tells of {told['matched']:,} of the log's {num_ids:,} {kind}s"
    if share <= _FEW:
        print(f"note      {message}", flush=True)
        return
    ours, theirs = (", ".join(map(repr, ids)) for ids in (told["first"], table[f"{kind}_id"][:SHOWN_IDS].to_pylist()))
    message += f": ids are {ours} in the log, {theirs or 'none'} in the table"
    if share > logs.max_unmatched_share and table.num_rows:
        raise UserError(
            f"{message}; write them alike, or set logs.max_unmatched_share (now {logs.max_unmatched_share:g}) to 1"
        )
    print(f"warning   {message}", flush=True)


def _id_type(files: dict[int, str]) -> pa.DataType:
    return storage.read_parquet(next(iter(files.values())), ["user_id"]).schema.field("user_id").type


def grow_items(base: pa.Table, added: pa.Table, described: pa.Table | None) -> pa.Table:
    """The items of a corpus and those added to it, with summed counts and the newest that is known of each.

    `added` are in the order in which new ones are numbered; `described` tells of items, also of some that never occur.
    """
    ids = _extended(base["item_id"], added["item_id"])
    counts = [pc.fill_null(_aligned(table, "item_id", ids)["count"], 0) for table in (base, added)]
    layers = [_without(table, "count") for table in (described, base) if table is not None]
    return pa.table({"item_id": ids, "count": pc.add(*counts)} | _newest(layers, "item_id", ids))


def grow_users(base: pa.Table | None, described: pa.Table, present: pa.ChunkedArray) -> pa.Table:
    """What is known of users: those who were known, then the other described ones who have interactions."""
    described = described.set_column(
        described.column_names.index("user_id"), "user_id", described["user_id"].cast(present.type)
    )
    described = described.filter(pc.is_in(described["user_id"], value_set=present.combine_chunks()))
    if base is None:
        return described
    ids = _extended(base["user_id"], described["user_id"])
    return pa.table({"user_id": ids} | _newest([described, base], "user_id", ids))


def grow_relations(
    base: pa.Table | None, described: pa.Table, present: pa.ChunkedArray
) -> tuple[pa.Table, dict[str, int]]:
    """The relations that were known and the described ones, between users who have interactions; what was left out."""
    users = present.combine_chunks()
    described = pa.table({name: _cast(described[name], name, users.type) for name in described.column_names})
    kept, dropped = relations_between(described, users)
    layers = [table for table in (base, kept) if table is not None]
    return relations_between(pa.concat_tables(layers, promote_options="default"), users)[0], dropped


def _extended(ids: pa.ChunkedArray, more: pa.ChunkedArray) -> pa.Array:
    """The ids, then those of the others that are new, in their order."""
    new = more.filter(pc.invert(pc.is_in(more, value_set=ids.combine_chunks())))
    return pa.chunked_array([*ids.chunks, *new.chunks], ids.type).combine_chunks()


def _newest(layers: list[pa.Table], key: str, ids: pa.Array) -> dict[str, pa.ChunkedArray]:
    """Each column of the layers by id, `[V]`: the value of the first layer that knows one.

    Raises:
        UserError: the layers hold a column in types that do not go together.
    """
    try:
        schemas = [_without(layer, key).schema for layer in reversed(layers)]
        schema = pa.unify_schemas(schemas, promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        raise UserError(f"the tables beside the log do not go with those of the corpus: {error}") from error
    aligned = [_aligned(layer, key, ids) for layer in layers]
    return {
        field.name: _first([t[field.name].cast(field.type) for t in aligned if field.name in t.column_names])
        for field in schema
    }


def _aligned(table: pa.Table, key: str, ids: pa.Array) -> pa.Table:
    """A table's rows in the order of the ids, null where it has none."""
    rows = pc.index_in(ids, value_set=table[key].cast(ids.type).combine_chunks())
    return _without(table, key).take(rows)


def _without(table: pa.Table, name: str) -> pa.Table:
    return table.select([other for other in table.column_names if other != name])


def _first(values: list[pa.ChunkedArray]) -> pa.ChunkedArray:
    return values[0] if len(values) == 1 else pc.coalesce(*values)


FILE = "sources.parquet"


def write_sources(sources: Iterable[FileEntry], uri: str, build: str) -> tuple[str, str]:
    """Write what is known of files into a build of a corpus; returns the path in the corpus and the checksum."""
    path = f"{build}/{FILE}"
    schema = pa.schema([("uri", pa.string()), ("size", pa.int64()), ("stamp", pa.int64())])
    table = pa.Table.from_pylist([file._asdict() for file in sources], schema)
    return path, storage.write_parquet(storage.join(uri, path), table)


def read_sources(corpus: Corpus) -> dict[str, FileEntry]:
    """The files of a corpus version by their URIs."""
    return {row["uri"]: FileEntry(**row) for row in corpus.read(corpus.manifest.sources).to_pylist()}
