"""What a user vector holds, told without labels: of everything that its user took, and of what he takes next.

Both are read from frozen vectors by linear maps, fitted on some users and tested on others. *Present*: how much of what
tells users apart in their whole histories the vector explains. *Future*: how much of the newer part of a history is
told from the vector of the older part, as collaborative filters are tested on held-out halves (Marlin 2004; Liang et
al. 2018). Neither can replace a task's own labels: a vector may hold all of the counts and miss what a task asks for.

What users took is the span of the leading singular vectors of their tf-idf rows; single items would mostly be noise.
The newer parts are in the log that the encoder was trained on, those of the tested users too. The singular vectors
that it is compared with are therefore fitted on whole histories as well.

Shapes: U users, B users of a chunk, V items, F numbers of a vector, K singular vectors.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.decomposition import TruncatedSVD

from ray_userrep.corpus import draws
from ray_userrep.corpus.jagged import ranges
from ray_userrep.corpus.splits import Split
from ray_userrep.corpus.store import Corpus
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.evaluation.histories import Sequences, read_known
from ray_userrep.evaluation.metrics import r2
from ray_userrep.evaluation.probe import Parts, linear_map
from ray_userrep.evaluation.profile import Features, read_vectors
from ray_userrep.evaluation.simple_vectors import item_counts, tf_idf
from ray_userrep.evaluation.statistics import estimate, mean_interval, paired
from ray_userrep.recipe.evaluation import EvaluationConfig

MIN_USERS, LEAST_INTERACTIONS = 100, 4
_MAX_USERS, _MAX_ITEMS, _SPAN, _RECALLED = 20_000, 50_000, 64, 50
_TEST_SHARE = _TUNING_SHARE = 0.2
_TEST_DRAW, _TUNING_DRAW = 34, 35
_CHUNK_SCORES = 2**22

Read = Callable[[Sequences], Features]
"""Makes vectors of histories, `[U, F]`."""


@dataclass(frozen=True)
class Question:
    """What is to be told of users from vectors of `known`: where they lie in the span of the tf-idf rows of `asked`.

    `kept_V` are the items that rows have, `directions_VK` the span's directions.
    """

    known: Sequences
    asked: Sequences
    kept_V: NDArray[np.int64]
    directions_VK: Features
    told_UK: Features
    parts: Parts

    def answer(self, vectors_UF: Features) -> Features:
        """What vectors tell of the test users, `[U, K]`."""
        return linear_map(vectors_UF, self.told_UK, self.parts)

    def explained(self, vectors_UF: Features) -> float:
        """The share of the test users' variance that vectors explain."""
        return r2(self.told_UK[self.parts.test], self.answer(vectors_UF))

    def recalled(self, answer_UK: Features) -> Features:
        """The share of what each test user took that is among the 50 items likeliest by an answer, `[U]`.

        It can be 1 also where a user took more than 50 (Liang et al. 2018).
        """
        num_items, top = len(self.kept_V), min(_RECALLED, len(self.kept_V))
        taken_UV = item_counts(_of_items(self.asked.take(self.parts.test), self.kept_V), num_items) > 0
        directions_KV = self.directions_VK.T.astype(np.float32)
        found = []
        for rows in np.array_split(np.arange(len(answer_UK)), 1 + len(answer_UK) * num_items // _CHUNK_SCORES):
            scores_BV = answer_UK[rows].astype(np.float32) @ directions_KV
            first_BT = np.argpartition(-scores_BV, top - 1, axis=1)[:, :top]
            taken_BV = taken_UV[rows].toarray()
            hits_B = np.take_along_axis(taken_BV, first_BT, 1).sum(1)
            found.append(hits_B / taken_BV.sum(1).clip(1, top))
        return np.concatenate(found)


def measure_universality(
    corpus: Corpus, split: Split, encoder: UserEncoder, config: EvaluationConfig
) -> dict[str, Any]:
    """What vectors of histories before the held-out test items say of those; empty where there are too few users."""
    users = read_known(corpus, split, encoder.side_columns, most_users(config), least=1)
    return measure_vectors(users, lambda histories: read_vectors(encoder, histories), config)


def most_users(config: EvaluationConfig) -> int:
    """So many users with a history are asked at most."""
    return min(config.max_users or _MAX_USERS, _MAX_USERS)


def measure_vectors(users: Sequences, read: Read, config: EvaluationConfig) -> dict[str, Any]:
    """Both figures of the vectors that are made of so many users' histories, beside simple ones."""
    found = {}
    if (present := ask_present(users)) is not None:
        features = {"encoder": read(users)}
        width = features["encoder"].shape[1]
        if config.baselines and width < present.told_UK.shape[1]:  # as many would explain all of it: they hold the span
            features[f"SVD-{width}"] = present.told_UK[:, :width]
        found["present"] = _measured(present, features, config)
    if (future := ask_future(users)) is not None:
        features = {"encoder": read(future.known)}
        if config.baselines:
            features |= _simple(future, users, features["encoder"].shape[1])
        found["future"] = _measured(future, features, config, recall=True)
        found["future"]["users"]["left_out"] = users.num_users - future.known.num_users
    return found


def ask_present(users: Sequences) -> Question | None:
    """What users took at all, from all that they took; None where there are too few of them."""
    return _ask(users, users, _commonest(users))


def ask_future(users: Sequences) -> Question | None:
    """What users took later, from the first half of what they took; who took fewer than four items is left out."""
    users = users.take(np.flatnonzero(users.lengths_U >= LEAST_INTERACTIONS))
    older_U = (users.lengths_U + 1) // 2
    first_U = users.offsets_U1[:-1]
    known = _slice(users, first_U, older_U)
    return _ask(known, _slice(users, first_U + older_U, users.lengths_U - older_U), _commonest(users))


def _slice(users: Sequences, first_U: NDArray[np.int64], length_U: NDArray[np.int64]) -> Sequences:
    kept = ranges(first_U, length_U)
    offsets = np.concatenate([[0], np.cumsum(length_U)])
    side = {name: column[kept] for name, column in users.side_N.items()}
    return Sequences(users.items_N[kept], users.times_N[kept], offsets, users.users_U, side_N=side)


def _ask(known: Sequences, asked: Sequences, kept_V: NDArray[np.int64]) -> Question | None:
    if known.num_users < MIN_USERS:
        return None
    parts, rows_UV = _deal(known.users_U), _rows(asked, kept_V)
    span = _span(rows_UV[parts.fit], _SPAN)
    return Question(known, asked, kept_V, span.components_.T, span.transform(rows_UV), parts)


def _simple(future: Question, users: Sequences, width: int) -> dict[str, Features]:
    """What is made of the older parts without training: singular vectors, the same again, and everybody's mean."""
    known_UV = _rows(future.known, future.kept_V)
    return {
        f"SVD-{width}": _span(_rows(users, future.kept_V), width).transform(known_UV),
        f"SVD-{width} of older": _span(known_UV, width).transform(known_UV),
        "same again": known_UV @ future.directions_VK,
        "mean": np.zeros((future.known.num_users, 1)),
    }


def _span(rows_UV: csr_matrix, width: int) -> TruncatedSVD:
    return TruncatedSVD(min(width, *(size - 1 for size in rows_UV.shape)), random_state=0).fit(rows_UV)


def _rows(histories: Sequences, kept_V: NDArray[np.int64]) -> csr_matrix:
    return tf_idf(_of_items(histories, kept_V), len(kept_V))


def _commonest(users: Sequences) -> NDArray[np.int64]:
    """The items that most interactions are with, in order of their indices: rare ones say little of a span."""
    items_V, counts_V = np.unique(users.items_N, return_counts=True)
    return np.sort(items_V[np.argsort(-counts_V, kind="stable")[:_MAX_ITEMS]])


def _of_items(histories: Sequences, kept_V: NDArray[np.int64]) -> Sequences:
    """The interactions with items that are kept, which are numbered by their places."""
    place_N = np.searchsorted(kept_V, histories.items_N).clip(max=len(kept_V) - 1)
    is_kept_N = kept_V[place_N] == histories.items_N
    offsets_U1 = np.concatenate([[0], np.cumsum(is_kept_N)])[histories.offsets_U1]
    return Sequences(place_N[is_kept_N], histories.times_N[is_kept_N], offsets_U1, histories.users_U)


def _deal(users_U: NDArray[np.int64]) -> Parts:
    """Users by a hash of theirs: the same ones are tested whatever the encoder, and whoever else is there."""
    is_test_U = draws.uniforms(_TEST_DRAW, users_U) < _TEST_SHARE
    is_tuning_U = ~is_test_U & (draws.uniforms(_TUNING_DRAW, users_U) < _TUNING_SHARE)
    return Parts(*(np.flatnonzero(part_U) for part_U in (~is_test_U & ~is_tuning_U, is_tuning_U, is_test_U)))


def _measured(
    question: Question, features: Mapping[str, Features], config: EvaluationConfig, recall: bool = False
) -> dict[str, Any]:
    truth_UK, draw = question.told_UK[question.parts.test], (config.num_bootstrap, config.confidence)
    answers = {name: question.answer(vectors_UF) for name, vectors_UF in features.items()}
    metrics = {name: {"r2": estimate(r2, truth_UK, [told], *draw)._asdict()} for name, told in answers.items()}
    if recall:
        for name, told in answers.items():
            metrics[name]["recall@50"] = mean_interval(question.recalled(told), *draw)._asdict()
    users = {part: len(rows) for part, rows in question.parts._asdict().items()}
    result: dict[str, Any] = {"users": users, "directions": truth_UK.shape[1], "metrics": metrics}
    others = [name for name in features if name != "encoder"]
    if others:
        best = max(others, key=lambda name: metrics[name]["r2"]["mean"])
        over = paired(r2, truth_UK, [answers["encoder"]], [answers[best]], *draw)
        result["over_best_simple"] = {"baseline": best, **over._asdict()}
    return result
