"""The readers of a run, one on each of its nodes: each decodes the buckets that are at home there, and cuts windows.

A reader decodes in threads of its own and keeps what it decoded in its node's object store, where the workers beside it
map the same pages. Several workers may ask for a bucket at once: it is decoded for the first of them. A reader that
dies is started again on its node, empty.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ray_userrep.corpus.splits import Cut
from ray_userrep.corpus.store import Bucket, Corpus, open_corpus
from ray_userrep.feed.cutting import Cuts, Held, cut_windows, read_held
from ray_userrep.feed.stream import at_home
from ray_userrep.feed.windows import Windows
from ray_userrep.logs.connection import here

_QUESTIONS, _DECODERS = 32, 4  # that a reader answers, and buckets that it decodes, at a time

Key = TypeVar("Key")
Value = TypeVar("Value")
BucketReaders = Any  # the handle of a `_Readers`
BucketReader = Any  # the handle of a `_Reader`


def bucket_readers(corpus: Corpus, cut: Cut, num_copies: int) -> BucketReaders:
    """Start what starts the readers of a run, which hold so many buckets together; all end with its last handle.

    Windows are those of the cut.
    """
    actor = ray.remote(num_cpus=0)(_Readers).options(scheduling_strategy=here())
    return actor.remote(corpus.uri, corpus.manifest.version, cut, num_copies)


class Newest(OrderedDict[Key, Value], Generic[Key, Value]):
    """Keeps what was used last."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def use(self, keys: Sequence[Key]) -> None:
        """These are used now; what was not for longest falls out."""
        for key in keys:
            self.move_to_end(key)
        while len(self) > max(self.size, len(keys)):
            self.popitem(last=False)


class Traffic(NamedTuple):
    """What a reader did so far: buckets read from storage, and bytes of windows sent."""

    reads: int = 0
    sent: int = 0


class _Readers:
    """Has a reader on each node where there is a worker."""

    def __init__(self, uri: str, version: int, cut: Cut, num_copies: int) -> None:
        self._given, self._num_copies = (uri, version, cut), num_copies
        self._readers: dict[tuple[str, int], BucketReader] = {}

    def of(self, nodes: Sequence[str]) -> list[BucketReader]:
        """The readers of the nodes of a run, which share what is to be held; those of other nodes end."""
        wanted = [(node, at_home(self._num_copies, len(nodes))) for node in nodes]
        self._readers = {key: self._readers.get(key) or self._start(*key) for key in wanted}
        return [self._readers[key] for key in wanted]

    def _start(self, node: str, num_copies: int) -> BucketReader:
        actor = ray.remote(num_cpus=0)(_Reader).options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            max_restarts=-1,
            max_concurrency=_QUESTIONS,
        )
        return actor.remote(*self._given, num_copies)


_Key = tuple[Literal["whole", "held"], int, tuple[str, ...]]


class _Copy(NamedTuple):
    """A bucket in the node's object store, and mapped."""

    reference: "ray.ObjectRef[Any]"
    mapped: Any


class _Reader:
    """Decodes buckets, of which it keeps so many."""

    def __init__(self, uri: str, version: int, cut: Cut, num_copies: int) -> None:
        self._corpus, self._cut = open_corpus(uri, version), cut
        self._copies = Newest[_Key, Future[_Copy]](num_copies)
        self._decoders, self._lock = ThreadPoolExecutor(_DECODERS), threading.Lock()
        self._traffic = Traffic()

    def bucket(self, number: int, side: tuple[str, ...]) -> "list[ray.ObjectRef[Bucket]]":
        """A bucket as the corpus has it."""
        return [copy.reference for copy in self._decoded([("whole", number, side)])]

    def held(self, numbers: Sequence[int], columns: tuple[str, ...]) -> "list[ray.ObjectRef[Held]]":
        """What windows are cut from, of each of these buckets."""
        return [copy.reference for copy in self._decoded([("held", number, columns) for number in numbers])]

    def windows(self, windows: Windows, columns: tuple[str, ...]) -> Cuts:
        """Windows of buckets that are at home here."""
        numbers = np.unique(windows.bucket_W).tolist()
        copies = self._decoded([("held", number, columns) for number in numbers])
        mapped: dict[int, Held] = {number: copy.mapped for number, copy in zip(numbers, copies, strict=True)}
        cuts = cut_windows(mapped.__getitem__, windows)
        self._count(sent=cuts.nbytes)
        return cuts

    def traffic(self) -> Traffic:
        return self._traffic

    def _decoded(self, keys: Sequence[_Key]) -> list[_Copy]:
        with self._lock:
            for key in keys:
                if key not in self._copies:
                    self._copies[key] = self._decoders.submit(self._decode, key)
            copies = [self._copies[key] for key in keys]
            self._copies.use(keys)
        return [copy.result() for copy in copies]

    def _decode(self, key: _Key) -> _Copy:
        kind, number, columns = key
        try:
            if kind == "whole":
                found: Bucket | Held = self._corpus.bucket(number, columns)
            else:
                found = read_held(self._corpus, self._cut, columns, number)
        except BaseException:
            with self._lock:  # another question may fare better
                self._copies.pop(key, None)
            raise
        self._count(reads=1)
        reference = ray.put(found)
        return _Copy(reference, ray.get(reference))

    def _count(self, **more: int) -> None:
        with self._lock:
            self._traffic = Traffic(*(a + more.get(n, 0) for n, a in self._traffic._asdict().items()))
