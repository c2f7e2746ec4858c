"""From the plan to batches: a thread reads ahead, cuts this rank's windows and prepares what the model is given.

A thread shares the decoded buckets with the loop and costs no copies between processes; numpy and Arrow release the
interpreter while they work, so that a step rarely waits.

Shapes: V items, D domains.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from math import ceil, sqrt
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ray_userrep.corpus.jagged import ranges
from ray_userrep.corpus.splits import Cut, Split
from ray_userrep.corpus.store import Corpus
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import Batch
from ray_userrep.feed.cutting import WindowSource, gather
from ray_userrep.feed.plan import BatchPlan, Position, rank_slice
from ray_userrep.feed.ranks import ALONE, Ranks, share_of
from ray_userrep.feed.windows import DOMAIN_COLUMN, collect_domains, domain_codes
from ray_userrep.recipe.corpus import StreamConfig

Prepared = TypeVar("Prepared")
_COUNTED = 2**24  # interactions, at least


class Step(NamedTuple, Generic[Prepared]):
    """One optimiser step's input on this rank, the position it holds and the one after it."""

    position: Position
    after: Position
    micros: Prepared
    targets_D: NDArray[np.int64]  # of the global batch, by domain


def make_plan(
    corpus: Corpus, cut: Cut, config: StreamConfig, lookahead: int, seed: int, ranks: Ranks = ALONE
) -> BatchPlan:
    """The plan of what windows are cut from; lengths are read as they are needed, domains of every interaction once,
    each rank those of its share of the buckets.

    Raises:
        UserError: there is nothing to train on, or there are no domains to mix.
    """
    names = list(corpus.manifest.domains)
    if config.domain_temperature != 1 and len(names) < 2:
        raise UserError(
            f"stream.domain_temperature {config.domain_temperature:g}: {corpus.uri} has {len(names) or 'no'} domains, "
            "nothing to mix; leave it at 1, or name the log's domain column in logs.columns"
        )
    lengths = _TrainLengths(corpus, cut, config.shuffle_buckets)
    counted = cut.trained_lengths(corpus.manifest) if isinstance(cut, Split) else None
    if len(names) < 2:
        return BatchPlan(lengths, config, lookahead, seed, ranks=ranks, counted=counted)

    def codes(number: int) -> NDArray[np.unsignedinteger]:
        return domain_codes(names, *cut.training(corpus.bucket(number, [DOMAIN_COLUMN])))

    return BatchPlan(lengths, config, lookahead, seed, collect_domains(names, lengths, codes, ranks), ranks, counted)


class _TrainLengths:
    """Those of a corpus, read when they are asked for; so many buckets' are held."""

    def __init__(self, corpus: Corpus, cut: Cut, size: int) -> None:
        self._num_buckets = corpus.manifest.num_buckets
        self._read = lru_cache(maxsize=size)(lambda bucket: cut.train_lengths(corpus, bucket))

    def __len__(self) -> int:
        return self._num_buckets

    def __getitem__(self, bucket: int, /) -> NDArray[np.int64]:
        return self._read(bucket)


def buckets_held(config: StreamConfig) -> int:
    """How many buckets are kept: two groups, as a batch may span them and would read them in turn otherwise."""
    return 2 * config.shuffle_buckets


def at_home(num_buckets: int, num_nodes: int) -> int:
    """How many of so many buckets are at home on one of so many nodes, hardly ever more: they are dealt by number, and
    come in an order of their own.
    """
    mean = num_buckets / num_nodes
    return min(num_buckets, ceil(mean + 3 * sqrt(mean)))


def train_counts(corpus: Corpus, split: Split, ranks: Ranks = ALONE) -> NDArray[np.int64]:
    """How often each item occurs among the interactions trained on, `[V]`; each rank reads its share of the buckets.

    Many interactions are counted at once: each time costs as much as the catalogue is long.
    """
    counts, pending, size = np.zeros(corpus.manifest.num_items, np.int64), list[NDArray[np.int64]](), 0
    share = share_of(ranks, corpus.manifest.num_buckets)
    for number in share:
        bucket, lengths_U = split.training(corpus.bucket(number))
        pending.append(bucket.items_N[ranges(bucket.offsets_U1[:-1], lengths_U)])
        size += len(pending[-1])
        if size >= _COUNTED or number == share[-1]:
            counts += np.bincount(np.concatenate(pending), minlength=len(counts))
            pending, size = [], 0
    return ranks.total(counts)


def steps(
    plan: BatchPlan,
    source: WindowSource,
    rank: int,
    world: int,
    position: Position,
    prepare: Callable[[list[Batch], Position], Prepared],
) -> Iterator[Step[Prepared]]:
    """This rank's steps from a position on, epoch after epoch, without end."""
    while True:
        for global_batch in plan.batches(position):
            micros = rank_slice(global_batch, rank, world, plan.config.micro_tokens)
            prepared = prepare(gather(source, micros), global_batch.position)
            targets_D = plan.targets(global_batch.windows)
            yield Step(global_batch.position, global_batch.after, prepared, targets_D)
        position = Position(position.epoch + 1)


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
