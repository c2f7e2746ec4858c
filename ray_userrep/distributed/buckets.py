"""One decoded copy of a bucket for all workers of a run, in Ray's object store.

A batch takes windows from every bucket of a shuffle group, whatever the number of workers, so that each worker needs
all buckets. Giving a worker buckets of its own would save the same reads, but then a batch's tokens would be spread
over workers by chance, and every step waits for the fullest one. Here a bucket is read and decoded once for as long as
the group is in use, on any node, and workers on one node map the same pages; nodes copy it from each other, not from
storage. Sharing is only a saving: where the reader or a copy is lost, a worker reads for itself.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from ray_userrep.corpus.store import Bucket, Corpus, open_corpus
from ray_userrep.errors import UserError

_Key = tuple[int, tuple[str, ...]]
BucketReader = Any  # the handle of a `_Reader`


class SharedCorpus(Corpus):
    """A corpus whose buckets come from a reader that several processes share."""

    def __init__(self, corpus: Corpus, reader: BucketReader) -> None:
        super().__init__(corpus.uri, corpus.manifest)
        self._reader = reader

    def bucket(self, number: int, side: Sequence[str] = ()) -> Bucket:
        try:
            copies: list[ray.ObjectRef[Bucket]] = ray.get(self._reader.bucket.remote(number, tuple(side)))
            return ray.get(copies[0])
        except UserError:
            raise
        except RayError:
            return super().bucket(number, side)


def bucket_reader(corpus: Corpus, num_copies: int) -> BucketReader:
    """Start the reader of a run; it keeps so many buckets, and ends when its last handle is gone."""
    return ray.remote(num_cpus=0)(_Reader).remote(corpus.uri, corpus.manifest.version, num_copies)


class _Reader:
    """Knows which copies there are; the decoding is done by tasks, wherever there is room."""

    def __init__(self, uri: str, version: int, num_copies: int) -> None:
        self._place = uri, version
        self._num_copies = num_copies
        self._copies: OrderedDict[_Key, ray.ObjectRef[Bucket]] = OrderedDict()
        self._num_reads = 0

    def bucket(self, number: int, side: tuple[str, ...]) -> "list[ray.ObjectRef[Bucket]]":
        key = number, side
        if key not in self._copies:
            # No CPU is asked for: the workers of a run may hold all there are.
            self._copies[key] = _decode.options(num_cpus=0, scheduling_strategy="SPREAD").remote(*self._place, *key)
            self._num_reads += 1
        self._copies.move_to_end(key)
        while len(self._copies) > self._num_copies:
            self._copies.popitem(last=False)
        return [self._copies[key]]

    def num_reads(self) -> int:
        """How often a bucket was read from storage so far."""
        return self._num_reads


@ray.remote
def _decode(uri: str, version: int, number: int, side: tuple[str, ...]) -> Bucket:
    return open_corpus(uri, version).bucket(number, side)
