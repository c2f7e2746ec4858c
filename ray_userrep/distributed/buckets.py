"""Buckets at home on the nodes of a run: each is read and decoded on one node, and windows of it are cut there.

A batch takes windows from every bucket of a shuffle group, whatever the number of workers, so that each worker needs
all buckets. Giving a worker buckets of its own would save that, but then a batch's tokens would be spread over workers
by chance, and every step waits for the fullest one. So a bucket's home is the node of one of the ranks, in turn: a node
reads its share of the log from storage once an epoch. Workers on it map the decoded bucket from its object store, and
those on other nodes are sent the windows that they ask for, all of a batch's at once: a node receives about its own
share of the log, not all of it. What that costs is a question a batch and node; the reading thread asks ahead.
Sharing is only a saving: where a reader is lost, a worker reads for itself.

Shapes: R ranks, W windows.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import RayError, RayTaskError

from ray_userrep.corpus.splits import Cut
from ray_userrep.corpus.store import Bucket, Corpus
from ray_userrep.distributed.readers import BucketReader, BucketReaders, Newest
from ray_userrep.errors import UserError
from ray_userrep.feed.cutting import BucketWindows, Cuts, Held, cut_windows, put_back
from ray_userrep.feed.ranks import Ranks
from ray_userrep.feed.stream import at_home
from ray_userrep.feed.windows import Windows

_PATIENCE = 300  # seconds, after which a reader counts as lost

Found = TypeVar("Found")


class Homes(NamedTuple):
    """The reader of each node of a run, which node each rank is on, and which one this rank."""

    readers: list[BucketReader]
    node_R: NDArray[np.int64]
    here: int

    def of(self, bucket_W: NDArray[np.int64]) -> NDArray[np.int64]:
        """The node where each bucket is at home: that of the rank that counts it."""
        return self.node_R[bucket_W % len(self.node_R)]


def find_homes(readers: BucketReaders, ranks: Ranks) -> Homes:
    """Where buckets are at home while these ranks train; all of them have to ask."""
    own = np.frombuffer(bytes.fromhex(ray.get_runtime_context().get_node_id()), np.uint8)
    id_R = np.zeros((ranks.world, len(own)), np.uint8)
    id_R[ranks.rank] = own
    ids, node_R = np.unique(ranks.total(id_R), axis=0, return_inverse=True)
    handles = ray.get(readers.of.remote([row.tobytes().hex() for row in ids]))
    return Homes(handles, node_R, int(node_R[ranks.rank]))


class SharedCorpus(Corpus):
    """A corpus whose buckets are decoded at home."""

    def __init__(self, corpus: Corpus, homes: Homes) -> None:
        super().__init__(corpus.uri, corpus.manifest)
        self._homes = homes

    def bucket(self, number: int, side: Sequence[str] = ()) -> Bucket:
        reader = self._homes.readers[self._homes.of(np.array([number]))[0]]
        found = _unless_lost(lambda: _copies(reader.bucket.remote(number, tuple(side))))
        return super().bucket(number, side) if found is None else found[0]


class SharedWindows:
    """Windows cut at home: out of buckets of this node here, out of those of other nodes by their readers.

    The cut has to be the one that the readers know.
    """

    def __init__(self, homes: Homes, corpus: Corpus, cut: Cut, columns: Sequence[str], size: int) -> None:
        self._homes, self._columns = homes, tuple(columns)
        self._alone = BucketWindows(Corpus(corpus.uri, corpus.manifest), cut, columns, size)  # where a reader is lost
        self._mapped = Newest[int, Held](at_home(size, len(homes.readers)))

    def cut(self, windows: Windows) -> Cuts:
        home_W = self._homes.of(windows.bucket_W)
        places = {int(node): np.flatnonzero(home_W == node) for node in np.unique(home_W)}
        answers = [self._ask(node, windows.take(place)) for node, place in places.items()]
        parts = [answer() for answer in answers]
        if [*places] == [self._homes.here]:
            return parts[0]
        return put_back(parts, np.concatenate([*places.values()]), windows.length_W)

    def _ask(self, node: int, windows: Windows) -> Callable[[], Cuts]:
        """Ask for windows that are at home on a node; the answer is waited for when it is called for."""
        if node == self._homes.here:
            find = lambda: self._cut_here(windows)  # noqa: E731
        else:
            sent: ray.ObjectRef[Cuts] = self._homes.readers[node].windows.remote(windows, self._columns)
            find = lambda: ray.get(sent, timeout=_PATIENCE)  # noqa: E731

        def answer() -> Cuts:
            cuts = _unless_lost(find)
            return self._alone.cut(windows) if cuts is None else cuts

        return answer

    def _cut_here(self, windows: Windows) -> Cuts:
        numbers = np.unique(windows.bucket_W).tolist()
        missing = [number for number in numbers if number not in self._mapped]
        if missing:
            reader = self._homes.readers[self._homes.here]
            self._mapped.update(zip(missing, _copies(reader.held.remote(missing, self._columns)), strict=True))
        self._mapped.use(numbers)
        return cut_windows(self._mapped.__getitem__, windows)


def _copies(asked: "ray.ObjectRef[list[ray.ObjectRef[Any]]]") -> list[Any]:
    references: list[Any] = ray.get(asked, timeout=_PATIENCE)
    return list(ray.get(references, timeout=_PATIENCE))


def _unless_lost(find: Callable[[], Found]) -> Found | None:
    """What was asked for; None where who was asked is lost.

    Raises:
        UserError: it is not what was written.
    """
    try:
        return find()
    except UserError as error:
        raise (error.cause if isinstance(error, RayTaskError) else error) from None
    except RayError:
        return None
