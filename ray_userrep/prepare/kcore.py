"""The k-core of a corpus: users and items with enough interactions among themselves, found by counting in rounds.

It works on the sequences of a version that is about to be published, where items are numbers and a user is in one
bucket: a round reads one column. The price is that sequences are written twice, and that counts of all items are held
whole by one process and sent to every task.

Shapes: N interactions of a bucket, U users, V items.
"""

import time
from collections import Counter
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ray_userrep import storage
from ray_userrep.corpus.manifest import Manifest, SequenceFile, SequenceFiles
from ray_userrep.corpus.outline import outline_path, write_sequences
from ray_userrep.errors import UserError
from ray_userrep.logs.tasks import results, run, shared
from ray_userrep.prepare.sequences import sequence_counts, summed_lengths
from ray_userrep.prepare.side_tables import relations_between
from ray_userrep.recipe.corpus import KCoreConfig

_DAY_US = 86_400_000_000
_USER_COLUMNS = 2  # user_id and user_hash come first, lists of interactions after them


class _Core(NamedTuple):
    """How often each item occurs in the core, and how often everything was counted to find it."""

    counts_V: NDArray[np.int64]
    rounds: int


def keep_core(manifest: Manifest, config: KCoreConfig, uri: str, build: str) -> Manifest:
    """The version with nothing but its core, and what was removed; files that it replaces are deleted.

    Raises:
        UserError: nothing is left.
    """
    if config == KCoreConfig():
        return manifest
    began = time.perf_counter()
    core = _core([storage.join(uri, file.path) for file in manifest.sequences], manifest.num_items, config)
    if not core.counts_V.any():
        raise UserError(
            f"corpus.k_core removes everything: no {config.users} interactions of a user are with items that have "
            f"{config.items} among such users; lower corpus.k_core.users or corpus.k_core.items"
        )
    index_V, checksum = _write_items(manifest, core.counts_V, uri, build)
    index = shared(index_V)
    parts = results([(_rewrite, file.model_dump(), index, config.users, uri, build) for file in manifest.sequences])
    left = [part for part in parts if part["num_users"]]
    kept = _published(manifest, config, core, left, uri, build).with_checksums({_items(build): checksum})
    files = [path for file in manifest.sequences for path in (file.path, outline_path(file.path))]
    for replaced in (manifest.items, manifest.users, manifest.relations, *files):
        if replaced is not None:
            storage.delete(storage.join(uri, replaced))
    removed = ", ".join(f"{count:,} {what}" for what, count in kept.removed_by_k_core.items())
    print(f"prepare   k-core       {time.perf_counter() - began:6.1f} s  removed: {removed}", flush=True)
    return kept


def _core(files: list[str], num_items: int, config: KCoreConfig) -> _Core:
    """Count what is left until no item falls below its bound any more; users are bounded inside each count."""
    kept_V, rounds = np.ones(num_items, bool), 0
    while True:
        counts_V, kept = np.zeros(num_items, np.int64), shared(kept_V)
        run([(_count, file, kept, config.users) for file in files], partial(_add, counts_V))
        rounds += 1
        still_V = counts_V >= config.items
        if np.array_equal(still_V, kept_V) or not still_V.any():
            return _Core(np.where(still_V, counts_V, 0), rounds)
        kept_V = still_V


def _add(counts_V: NDArray[np.int64], _: int, found: tuple[NDArray[np.int64], NDArray[np.int64]]) -> None:
    items, counts = found
    counts_V[items] += counts


def _count(file: str, kept_V: NDArray[np.bool_], min_user: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The items of a bucket's users who have enough interactions with kept ones, and how many each has with them."""
    items = storage.read_parquet(file, ["items"])["items"].combine_chunks()
    items_N = items.values.to_numpy()
    counts_V = np.bincount(items_N[_kept(items.offsets.to_numpy(), items_N, kept_V, min_user)], minlength=len(kept_V))
    found = np.flatnonzero(counts_V)
    return found, counts_V[found]


def _kept(
    offsets_U1: NDArray[np.integer], items_N: NDArray[np.int64], kept_V: NDArray[np.bool_], min_user: int
) -> NDArray[np.bool_]:
    """Which interactions are with kept items and of users who have enough of these, `[N]`."""
    kept_N = kept_V[items_N]
    num_U = np.diff(np.concatenate([[0], np.cumsum(kept_N)])[offsets_U1])
    return kept_N & np.repeat(num_U >= min_user, np.diff(offsets_U1))


def _write_items(
    manifest: Manifest, counts_V: NDArray[np.int64], uri: str, build: str
) -> tuple[NDArray[np.int64], str]:
    """Write the core's items by falling count; the new index of each old one, -1 for none, and the file's checksum."""
    table = storage.read_parquet(storage.join(uri, manifest.items))
    by_id = pc.sort_indices(table["item_id"]).to_numpy()
    order = by_id[np.argsort(-counts_V[by_id], kind="stable")][: np.count_nonzero(counts_V)]
    kept = table.take(pa.array(order))
    kept = kept.set_column(kept.column_names.index("count"), "count", pa.array(counts_V[order]))
    checksum = storage.write_parquet(storage.join(uri, _items(build)), kept)
    index_V = np.full(len(counts_V), -1)
    index_V[order] = np.arange(len(order))
    return index_V, checksum


def _rewrite(file: dict[str, Any], index_V: NDArray[np.int64], min_user: int, uri: str, build: str) -> dict[str, Any]:
    """Write what is left of one bucket, with the items' new indices; returns what describes it."""
    sequences = storage.read_parquet(storage.join(uri, file["path"]))
    items = sequences["items"].combine_chunks()
    offsets_U1, items_N = items.offsets.to_numpy(), items.values.to_numpy()
    kept_N = _kept(offsets_U1, items_N, index_V >= 0, min_user)
    lengths_U = np.diff(np.concatenate([[0], np.cumsum(kept_N)])[offsets_U1])
    if not kept_N.any():
        return {"num_users": 0}
    values = {name: sequences[name].combine_chunks().values for name in sequences.column_names[_USER_COLUMNS:]}
    values["items"] = pa.array(index_V[items_N])
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths_U[lengths_U > 0])]).astype(np.int32))
    lists = {name: pa.ListArray.from_arrays(offsets, one.filter(pa.array(kept_N))) for name, one in values.items()}
    users = sequences.select(range(_USER_COLUMNS)).filter(pa.array(lengths_U > 0))
    left = pa.table({name: users[name] for name in users.column_names} | lists)
    path = f"{build}/sequences/bucket={file['bucket']:05d}/core-0.parquet"
    checks = write_sequences(uri, path, left)
    return {"bucket": file["bucket"], "path": path, "days": _days(left), **checks, **sequence_counts(left)}


def _days(sequences: pa.Table) -> dict[str, int]:
    days, counts = np.unique(sequences["timestamps"].combine_chunks().values.to_numpy() // _DAY_US, return_counts=True)
    return dict(zip(days.astype("datetime64[D]").astype(str).tolist(), counts.tolist(), strict=True))


def _published(
    manifest: Manifest, config: KCoreConfig, core: _Core, parts: list[dict[str, Any]], uri: str, build: str
) -> Manifest:
    named = SequenceFile.model_fields
    counted = ("num_users", "num_interactions", "num_ties", "num_duplicates")
    counts = {name: sum(part[name] for part in parts) for name in counted}
    total = {
        name: dict(sorted(sum((Counter(p[name]) for p in parts), Counter()).items())) for name in ("days", "domains")
    }
    num_items = int(np.count_nonzero(core.counts_V))
    kept = manifest.model_copy(
        update={
            **counts,
            "num_items": num_items,
            "content_fingerprint": f"{manifest.content_fingerprint}-{config.users}-{config.items}",
            "k_core": config.model_dump(),
            "interactions_per_day": total["days"] if manifest.order == "time" else {},
            "users_per_length": summed_lengths(part["users_per_length"] for part in parts),
            "domains": total["domains"],
            "items": _items(build),
            "sequences": SequenceFiles.of(SequenceFile(**{name: part[name] for name in named}) for part in parts),
            "removed_by_k_core": {
                "users": manifest.num_users - counts["num_users"],
                "items": manifest.num_items - num_items,
                "interactions": manifest.num_interactions - counts["num_interactions"],
                "rounds": core.rounds,
            },
        }
    )
    return _with_tables(kept, uri, build)


def _with_tables(manifest: Manifest, uri: str, build: str) -> Manifest:
    """The manifest with the attributes and relations of the users who are left, where the log has any."""
    if manifest.users is None and manifest.relations is None:
        return manifest
    files = [storage.join(uri, file.path) for file in manifest.sequences]
    left = pa.concat_arrays([storage.read_parquet(file, ["user_id"])["user_id"].combine_chunks() for file in files])
    update, checksums = dict[str, Any](), dict[str, str]()
    if manifest.users is not None:
        update["users"] = path = f"{build}/core-users.parquet"
        users = storage.read_parquet(storage.join(uri, manifest.users))
        kept = users.filter(pc.is_in(users["user_id"], value_set=left))
        checksums[path] = storage.write_parquet(storage.join(uri, path), kept)
    if manifest.relations is not None:
        update["relations"] = path = f"{build}/core-relations.parquet"
        kept, dropped = relations_between(storage.read_parquet(storage.join(uri, manifest.relations)), left)
        checksums[path] = storage.write_parquet(storage.join(uri, path), kept)
        removed = {"of users outside the k-core": sum(dropped.values())}
        update |= {"num_relations": kept.num_rows, "dropped_relations": manifest.dropped_relations | removed}
    return manifest.model_copy(update=update).with_checksums(checksums)


def _items(build: str) -> str:
    return f"{build}/core-items.parquet"
