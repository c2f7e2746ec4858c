"""From the plan to batches: a thread reads ahead, cuts this rank's windows and prepares what the model is given.

A thread shares the decoded buckets with the loop and costs no copies between processes; numpy and Arrow release the
interpreter while they work, so that a step rarely waits.

Shapes: W windows, T items of all windows together.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ray_userrep.corpus.batch import START, TIMESTAMPS, Batch
from ray_userrep.corpus.plan import MicroBatch, Plan, Position, ranges, rank_slice
from ray_userrep.corpus.splits import Split
from ray_userrep.corpus.store import BucketCache, Corpus

Prepared = TypeVar("Prepared")


class Step(NamedTuple, Generic[Prepared]):
    """One optimiser step's input on this rank, the position it holds and the one after it."""

    position: Position
    after: Position
    micros: Prepared


def train_lengths(corpus: Corpus, split: Split) -> list[NDArray[np.int64]]:
    """How many interactions of each user are trained on, by bucket: what a plan is made from."""
    ends = []
    for number in corpus.buckets():
        bucket = corpus.bucket(number)
        ends.append(split.positions(bucket.offsets_U1, bucket.timestamps_N).train_end_U)
    return ends


def train_counts(corpus: Corpus, split: Split) -> NDArray[np.int64]:
    """How often each item occurs among the interactions trained on, `[V]`."""
    counts = np.zeros(corpus.manifest.num_items, np.int64)
    for number in corpus.buckets():
        bucket = corpus.bucket(number)
        ends_U = split.positions(bucket.offsets_U1, bucket.timestamps_N).train_end_U
        kept = ranges(bucket.offsets_U1[:-1], ends_U)
        counts += np.bincount(bucket.items_N[kept], minlength=len(counts))
    return counts


def gather(buckets: BucketCache, micro: MicroBatch) -> Batch:
    """Read a micro-batch's windows out of the decoded buckets, in their order."""
    windows = micro.windows
    offsets_B1 = np.concatenate([[0], np.cumsum(windows.length_W)])
    values_T, times_T = np.empty((2, offsets_B1[-1]), np.int64)
    side_T: dict[str, NDArray[np.generic]] = {}
    users_B = np.empty(len(windows.row_W), np.int64)
    for number in np.unique(windows.bucket_W):
        bucket = buckets[int(number)]
        here = np.flatnonzero(windows.bucket_W == number)
        row, length = windows.row_W[here], windows.length_W[here]
        source = ranges(bucket.offsets_U1[row] + windows.start_W[here], length)
        place = ranges(offsets_B1[here], length)
        values_T[place], times_T[place] = bucket.items_N[source], bucket.timestamps_N[source]
        for name, column_N in bucket.side_N.items():
            side_T.setdefault(name, np.zeros(len(values_T), column_N.dtype))[place] = column_N[source]
        users_B[here] = bucket.user_hash_U[row]
    return Batch(
        values_T=torch.from_numpy(values_T),
        offsets_B1=torch.from_numpy(offsets_B1.astype(np.int32)),
        users_B=torch.from_numpy(users_B),
        max_len=int(windows.length_W.max()),
        labels={START: torch.from_numpy(windows.start_W)},
        side={TIMESTAMPS: torch.from_numpy(times_T)} | {k: torch.from_numpy(v) for k, v in side_T.items()},
        weight=micro.weight,
    )


def steps(
    plan: Plan,
    buckets: BucketCache,
    rank: int,
    world: int,
    position: Position,
    prepare: Callable[[list[Batch], Position], Prepared],
) -> Iterator[Step[Prepared]]:
    """This rank's steps from a position on, epoch after epoch, without end."""
    epoch, batch = position
    while True:
        for global_batch in plan.batches(Position(epoch, batch)):
            here = global_batch.position
            after = Position(epoch, here.batch + 1) if here.batch + 1 < plan.num_batches else Position(epoch + 1)
            micros = rank_slice(global_batch, rank, world, plan.config.micro_tokens)
            yield Step(here, after, prepare([gather(buckets, micro) for micro in micros], here))
        epoch, batch = epoch + 1, 0


class Prefetch(Generic[Prepared]):
    """Runs an iterator in a thread, a bounded number of elements ahead, and measures how long the consumer waited."""

    def __init__(self, source: Iterator[Prepared], depth: int) -> None:
        self.wait_seconds = 0.0
        self._queue: queue.Queue[Any] = queue.Queue(depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(source,), daemon=True, name="prefetch")
        self._thread.start()

    def __iter__(self) -> Iterator[Prepared]:
        while True:
            began = time.perf_counter()
            element, error = self._queue.get()
            self.wait_seconds += time.perf_counter() - began
            if error is not None:
                raise error
            yield element

    def close(self) -> None:
        """Stop reading; what was read ahead is dropped."""
        self._closed.set()
        while not self._queue.empty():
            self._queue.get_nowait()
        self._thread.join(timeout=5)

    def _fill(self, source: Iterator[Prepared]) -> None:
        try:
            for element in source:
                if not self._put((element, None)):
                    return
        except BaseException as error:  # handed to the consumer, which is where it can be acted on
            self._put((None, error))

    def _put(self, entry: tuple[Any, BaseException | None]) -> bool:
        while not self._closed.is_set():
            try:
                self._queue.put(entry, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False
