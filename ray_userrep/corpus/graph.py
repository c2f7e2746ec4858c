"""Who took what: the bipartite graph of a corpus's warm users and items, as lists of neighbours both ways.

Warm is who has more interactions to train on than a threshold; users and items of fewer are no nodes, so that nothing
can be read of them here. Lists are memory-mapped Arrow of int64 and never change. Building holds the interactions of
the warm users in memory, sixteen bytes each.

Shapes: U warm users, V items of the catalogue, E edges, N interactions.
"""

import tempfile
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_userrep import storage
from ray_userrep.corpus.splits import Cut
from ray_userrep.corpus.store import Bucket, Corpus
from ray_userrep.errors import UserError

Rows = NDArray[np.int64]
_FILES = ("users.arrow", "items.arrow")


class UserItemGraph(NamedTuple):
    """Hashes of the users, rising; the items of each, rising; of each item of the catalogue the rows of its users.

    A pair is one edge, however often the user took the item. Items that are no nodes have no users.
    """

    users_U: Rows
    items_of: pa.LargeListArray
    users_of: pa.LargeListArray

    @classmethod
    def of(cls, hash_E: Rows, item_E: Rows, num_items: int) -> Self:
        """The graph of these pairs of a user, by hash, and an item; a pair may come several times."""
        users_U, row_E = np.unique(hash_E, return_inverse=True)
        row_E, item_E = np.divmod(np.unique(row_E * num_items + item_E), max(1, num_items))
        by_item = np.argsort(item_E, kind="stable")
        return cls(users_U, _lists(row_E, item_E, len(users_U)), _lists(item_E[by_item], row_E[by_item], num_items))

    def edges(self) -> tuple[Rows, Rows]:
        """The user, by hash, and the item of each edge, `[E]` both."""
        return np.repeat(self.users_U, self.items_of.value_lengths().to_numpy()), self.items_of.values.to_numpy()

    def over(self, index_V: Rows) -> Self:
        """The graph over another catalogue; `index_V` is each item's place in this one, -1 for none.

        Raises:
            UserError: no item of it has a user.
        """
        if np.array_equal(index_V, np.arange(len(self.users_of))):
            return self
        hash_E, item_E = self.edges()
        place_V = np.full(len(self.users_of), -1)
        place_V[index_V[index_V >= 0]] = np.flatnonzero(index_V >= 0)
        is_kept_E = place_V[item_E] >= 0
        if not is_kept_E.any():
            raise UserError(
                "none of the items is in the encoder's graph of users and items (encoder.backbone.kind gnn): pretrain "
                "on a log of these items"
            )
        return self.of(hash_E[is_kept_E], place_V[item_E[is_kept_E]], len(index_V))

    def save(self, folder: str | Path) -> None:
        """Write the graph into a local folder; it may be the one that it is mapped from."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        users = pa.table({"user_hash": self.users_U, "items": self.items_of})
        for name, table in zip(_FILES, (users, pa.table({"users": self.users_of})), strict=True):
            with storage.sink(str(Path(folder) / name)) as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Memory-map a saved graph.

        Raises:
            UserError: the folder holds none, or a damaged one.
        """
        try:
            users, items = (pa.ipc.open_file(pa.memory_map(str(Path(folder) / name))).read_all() for name in _FILES)
            lists = users["items"].combine_chunks(), items["users"].combine_chunks()
            return cls(users["user_hash"].to_numpy(), *lists)
        except (pa.ArrowException, OSError, KeyError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"the graph of users and items at {folder} cannot be read: {reason}") from error

    def mapped(self) -> Self:
        """The same on disk, in a file without a name: its pages are in memory only while they are used."""
        with tempfile.TemporaryDirectory() as scratch:
            self.save(scratch)
            return self.load(scratch)


def read_graph(corpus: Corpus, cut: Cut, warm_above: int) -> UserItemGraph:
    """The graph of what a cut trains on, of users and items with more than `warm_above` interactions in it.

    Raises:
        UserError: there is no such pair.
    """
    num_items = corpus.manifest.num_items
    counts_V, hashes, items = np.zeros(num_items, np.int64), [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for number in corpus.buckets():
        trained = _trained(corpus.bucket(number), cut)
        counts_V += np.bincount(trained.items_N, minlength=num_items)
        hash_N, length_N = (np.repeat(of_U, trained.lengths_U) for of_U in (trained.user_hash_U, trained.lengths_U))
        hashes.append(hash_N[length_N > warm_above])
        items.append(trained.items_N[length_N > warm_above])
    hash_N, item_N = np.concatenate(hashes), np.concatenate(items)
    is_warm_N = counts_V[item_N] > warm_above
    if not is_warm_N.any():
        raise UserError(
            f"encoder.backbone.warm_above {warm_above}: no user of {corpus.uri} has more interactions to train on, "
            "with an item that has more: lower it"
        )
    return UserItemGraph.of(hash_N[is_warm_N], item_N[is_warm_N], num_items).mapped()


def _trained(bucket: Bucket, cut: Cut) -> Bucket:
    trained, lengths_U = cut.training(bucket)
    return trained.heads(np.arange(trained.num_users), lengths_U)


def _lists(row_E: Rows, value_E: Rows, num_rows: int) -> pa.LargeListArray:
    """Values by rows, which rise."""
    offsets = np.searchsorted(row_E, np.arange(num_rows + 1))
    return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(value_E))
