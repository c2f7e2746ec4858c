"""The interactions that texts are about, each with what its user did before: one rule for all families.

What is trained on lies before the split's held-out interactions, and no pair of a user and an item that is held out is
in it: a user who had the item before loses those interactions, as subjects and in histories. So no family is taught
what another one is tested on. A user's number is its place in the corpus, the same in every pass.

Shapes: R subjects, N interactions of the users that are looked at, H items of all histories, U users.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ray_userrep.corpus.jagged import ranges
from ray_userrep.corpus.splits import NONE, Split, SplitPart
from ray_userrep.corpus.store import Bucket, Corpus

TEXTS = ("review", "summary")


class Subjects(NamedTuple):
    """One interaction a row: who, what, after which items (at most so many, oldest first), and what is told of it."""

    hash_R: NDArray[np.int64]
    user_R: NDArray[np.int64]
    place_R: NDArray[np.int64]  # in the user's sequence
    item_R: NDArray[np.int64]
    offsets_R1: NDArray[np.int64]
    history_H: NDArray[np.int64]
    rating_R: NDArray[np.float64]
    texts: dict[str, pa.Array]
    held_R2: NDArray[np.int64]  # the user's validation and test items, NONE where there is none

    def take(self, rows: NDArray[np.integer]) -> "Subjects":
        """The given rows, in that order."""
        lengths = np.diff(self.offsets_R1)[rows]
        history_H = self.history_H[ranges(self.offsets_R1[rows], lengths)]
        own = {name: getattr(self, name)[rows] for name in ("hash_R", "user_R", "place_R", "item_R", "rating_R")}
        texts = {name: column.take(pa.array(rows)) for name, column in self.texts.items()}
        offsets_R1 = np.append(0, np.cumsum(lengths))
        return Subjects(**own, offsets_R1=offsets_R1, history_H=history_H, texts=texts, held_R2=self.held_R2[rows])


def learned(corpus: Corpus, split: Split, number: int, max_history: int) -> Subjects:
    """What of a bucket is trained on."""
    bucket, texts = _read(corpus, number)
    trained, lengths_U = split.training(bucket)
    assert trained is bucket, "leave-one-out keeps all items"
    held_U2 = _held(bucket, split)
    place_N = ranges(bucket.offsets_U1[:-1], lengths_U)
    user_N = np.repeat(np.arange(bucket.num_users), lengths_U)
    is_held_N = (bucket.items_N[place_N, None] == held_U2[user_N]).any(1)
    place_N, user_N = place_N[~is_held_N], user_N[~is_held_N]
    kept_U = np.bincount(user_N, minlength=bucket.num_users)
    before_N = np.arange(len(place_N)) - (np.cumsum(kept_U) - kept_U)[user_N]
    history = _histories(bucket.items_N[place_N], np.arange(len(place_N)), before_N, max_history)
    return _told(bucket, texts, held_U2, user_N, place_N, history, user_N * corpus.manifest.num_buckets + number)


def held_out(corpus: Corpus, split: Split, part: SplitPart, number: int, max_history: int) -> Subjects:
    """What of a bucket is predicted, each with everything before it."""
    bucket, texts = _read(corpus, number)
    cut = split.positions(bucket)
    first_U = cut.targets(part)
    user_R = np.flatnonzero(first_U != NONE)
    place_R = bucket.offsets_U1[user_R] + first_U[user_R]
    history = _histories(bucket.items_N, place_R, first_U[user_R], max_history)
    numbers_R = user_R * corpus.manifest.num_buckets + number
    return _told(bucket, texts, _held(bucket, split), user_R, place_R, history, numbers_R)


def joined(parts: Sequence[Subjects]) -> Subjects:
    """Rows of several parts, end to end."""
    names = ("hash_R", "user_R", "place_R", "item_R", "history_H", "rating_R", "held_R2")
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    lengths = np.concatenate([np.diff(part.offsets_R1) for part in parts])
    texts = {name: pa.concat_arrays([part.texts[name] for part in parts]) for name in parts[0].texts}
    return Subjects(**arrays, offsets_R1=np.append(0, np.cumsum(lengths)), texts=texts)


def _histories(
    items_N: NDArray[np.int64], ends_R: NDArray[np.int64], before_R: NDArray[np.int64], most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The newest of the items before each end, of which so many are its user's: bounds and items."""
    lengths_R = np.minimum(before_R, most)
    return np.append(0, np.cumsum(lengths_R)), items_N[ranges(ends_R - lengths_R, lengths_R)]


def _told(
    bucket: Bucket,
    texts: dict[str, pa.Array],
    held_U2: NDArray[np.int64],
    user_R: NDArray[np.int64],
    place_R: NDArray[np.int64],
    history: tuple[NDArray[np.int64], NDArray[np.int64]],
    numbers_R: NDArray[np.int64],
) -> Subjects:
    """Interactions of a bucket as rows, with what the log tells of them."""
    ratings_N = bucket.side_N.get("rating", np.full(len(bucket.items_N), np.nan))
    return Subjects(
        hash_R=bucket.user_hash_U[user_R],
        user_R=numbers_R,
        place_R=place_R - bucket.offsets_U1[user_R],
        item_R=bucket.items_N[place_R],
        offsets_R1=history[0],
        history_H=history[1],
        rating_R=ratings_N[place_R].astype(np.float64),
        texts={name: column.take(pa.array(place_R)) for name, column in texts.items()},
        held_R2=held_U2[user_R],
    )


def _read(corpus: Corpus, number: int) -> tuple[Bucket, dict[str, pa.Array]]:
    """A bucket with its ratings, and its texts as they were written."""
    there = [name for name in TEXTS if name in corpus.manifest.side_columns]
    sequences = corpus.sequences(number, there) if there else None
    none = pa.array([], pa.string())  # of a bucket without users
    texts = {name: none if sequences is None else sequences[name].combine_chunks().flatten() for name in there}
    return corpus.bucket(number, ["rating"]), texts


def _held(bucket: Bucket, split: Split) -> NDArray[np.int64]:
    """Each user's validation and test items, `[U, 2]`."""
    cut = split.positions(bucket)
    place_U2 = np.stack([cut.valid_U, cut.test_U], 1)
    there_U2 = place_U2 != NONE
    items_U2 = np.full(place_U2.shape, NONE)
    items_U2[there_U2] = bucket.items_N[(bucket.offsets_U1[:-1, None] + place_U2)[there_U2]]
    return items_U2
