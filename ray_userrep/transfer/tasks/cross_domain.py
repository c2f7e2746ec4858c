"""Predicting how users rate the items of another log, of which they have none there: cold users of a second domain.

The users of both logs are dealt out whole. Of those who validate and test no rating in the target log is trained on,
by the factors of its items as little as by a head; all of them are asked about. What an arm adds comes on top of the
best simple prediction: biases of items, and how the user deviates in the source log. Both logs' ratings are held in one
process's memory.

Shapes: U users of both logs, R ratings, V items of a log, D factors, and for users how far they deviate from the means.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Literal, assert_never

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ray_userrep.corpus.deal import deal
from ray_userrep.corpus.splits import Cut, Split, SplitPart
from ray_userrep.corpus.store import Corpus
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.evaluation.factors import Biases, Floats, Ratings, biases, factorise
from ray_userrep.evaluation.histories import Sequences, read_known, sequences_of
from ray_userrep.evaluation.profile import read_vectors
from ray_userrep.objectives.base import Objective
from ray_userrep.recipe.transfer import CrossDomainTaskConfig
from ray_userrep.transfer.bridges import LinearBridge, PersonalBridge
from ray_userrep.transfer.ratings import KnownRatings, RatingHead, UserRatings
from ray_userrep.transfer.tasks.base import HeadShape, Part
from ray_userrep.transfer.tasks.rated import (
    MEASURES,
    RATING,
    Predicted,
    by_user,
    newest_liked,
    places_among,
    ratings_of,
    user_figures,
)
from ray_userrep.transfer.tasks.users import fingerprint, first_share, known_users, refuse_few

_SHRINKAGES, _SHRINKAGE = (1.0, 5.0, 25.0), 5.0
_TIE_BREAK = 1e-6  # of a rating: popularity ranks items, and changes no error


class CrossDomainTask:
    """Ratings in a target log, whose users have the stable hashes `rater_hashes`.

    `users` are what is known in the source log of all its users; `key` names both logs and the split.
    """

    name = "ratings of another domain"
    measures = MEASURES
    windows: Literal["last", "tile", "random"] = "last"

    def __init__(
        self,
        users: Sequences,
        source_ratings: Ratings,
        rater_hashes: NDArray[np.int64],
        ratings: Ratings,
        split: Split,
        key: str,
        config: CrossDomainTaskConfig,
    ) -> None:
        self._split, self._config, self._num_items = split, config, ratings.num_items
        has_rated_U = np.isin(users.users_U, rater_hashes[np.unique(ratings.users_R)])
        self._users = np.flatnonzero(has_rated_U & (users.lengths_U > 0))
        self._histories = users.take(self._users)
        self._end = int(users.times_N.max(initial=0))
        self._parts = deal(self._histories.users_U, config.valid_share, config.test_share, config.seed)
        refuse_few(self.name, "in valid", len(self._parts.valid), config.min_examples)
        refuse_few(self.name, "in test", len(self._parts.test), config.min_examples)
        self._key = fingerprint(key, json.dumps(config.model_dump()), _digest(source_ratings), _digest(ratings))
        self._rated, self._values_R = by_user(ratings, rater_hashes, self._histories.users_U)
        held_out_U = self._histories.users_U[np.concatenate([self._parts.valid, self._parts.test])]
        trained = ratings.take(~np.isin(rater_hashes, held_out_U)[ratings.users_R])
        self._popularity_V = np.bincount(trained.items_R, minlength=trained.num_items) / len(trained.items_R)
        self._liked = newest_liked(self._histories, config.liked_above, config.num_liked)
        self._biases, self._shift_U = self._tuned(trained, source_ratings)
        self._from_UD, self._source_VD = self._factorised(source_ratings, self._users)
        rows_U = places_among(self._histories.users_U, rater_hashes)
        self._towards_UD, factors_VD = self._factorised(trained, rows_U)
        self._towards_UD[:, -1] -= self._shift_U  # what is predicted anyway
        self._items_VD = np.column_stack([factors_VD, np.ones(len(factors_VD))])

    def cut(self, share: float) -> Cut:
        """Everything known of the training users in the source log when the split's test begins."""
        return known_users(self._histories.users_U[self._train(share)], self._split)

    def data(self, share: float) -> str:
        return f"{self._key}-{share:g}"

    def num_users(self, part: Part, share: float = 1.0) -> int:
        return len(first_share(self._parts.train, share)) if part == "train" else len(self._rows(part))

    def objective(self, encoder: UserEncoder, share: float, shape: HeadShape) -> UserRatings:
        rows = self._train(share)
        rows = rows[np.argsort(self._histories.users_U[rows])]
        ratings = self._of(rows)
        known = KnownRatings(
            self._histories.users_U[rows],
            self._rated.take(rows),
            ratings.values_R - self._plain(rows).of(ratings.users_R, ratings.items_R),
            self._liked.take(rows),
            self._towards_UD[rows],
        )

        def read(frozen: UserEncoder) -> NDArray[np.float64]:
            return self._vectors(frozen, rows, shape.of_factors)

        tables = self._items_VD, self._source_VD if shape.of_factors else None
        return UserRatings(known, *tables, self._head(encoder, shape), read, np.full(len(rows), self._end))

    def trains(self, name: str) -> bool:
        return False

    def truth(self, part: SplitPart) -> NDArray[np.float64]:
        """How many ratings each user of a part has."""
        ratings = self._of(self._rows(part))
        return np.bincount(ratings.users_R, minlength=ratings.num_users).astype(np.float64)

    def activity(self, part: SplitPart) -> NDArray[np.int64]:
        return self._histories.lengths_U[self._rows(part)]

    def predict(self, encoder: UserEncoder, objective: Objective, part: SplitPart) -> NDArray[Any]:
        """Sums of errors, and NDCG, of each user."""
        assert isinstance(objective, UserRatings)
        rows = self._rows(part)
        vectors_UF = objective.once(encoder, part, lambda: self._vectors(encoder, rows, objective.of_factors))
        told = self._plain(rows)._replace(users_UD=objective.mapped(encoder, vectors_UF, self._liked.take(rows)))
        return user_figures(told, self._of(rows), self._config.liked_above)

    def known_until(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The test users, and the time of the newest interaction that is known of each in the source log."""
        test = self._histories.take(self._parts.test)
        return test.users_U, test.times_N[test.offsets_U1[1:] - 1]

    def baselines(self, share: float) -> dict[str, NDArray[np.float64]]:
        """Means of ratings, with shrinkages tuned on validation; they learn from all training users at any share."""
        rows = self._parts.test
        best = self._plain(rows)
        alike = best._replace(user_U=np.full(len(rows), self._biases.mean))
        told = {
            "global mean, popular items first": alike._replace(item_V=_TIE_BREAK * self._popularity_V),
            "item mean": alike,
            "item mean + source bias": best,
        }
        ratings, above = self._of(rows), self._config.liked_above
        return {name: user_figures(one, ratings, above) for name, one in told.items()}

    def _plain(self, rows: NDArray[np.int64]) -> Predicted:
        """What is predicted of these users without their vectors."""
        none_UD = np.zeros((len(rows), self._items_VD.shape[1]))
        user_U = self._biases.mean + self._shift_U[rows]
        return Predicted(user_U, self._biases.item_V, none_UD, self._items_VD)

    def _factorised(self, ratings: Ratings, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Factors of the users in these rows of a log, last how far each deviates from the means, and of its items."""
        means = biases(ratings, _SHRINKAGE, _SHRINKAGE)
        factors = factorise(ratings, means, self._config.width, self._config.seed)
        return np.column_stack([factors.users_UD[rows], means.user_U[rows]]), factors.items_VD

    def _tuned(self, trained: Ratings, source: Ratings) -> tuple[Biases, Floats]:
        """The target log's biases of items, and each user's in the source log, shrunken as validation likes best."""
        valid = self._of(self._parts.valid)

        def error(known: Biases, shift_U: Floats) -> float:
            told_R = known.mean + known.item_V[valid.items_R] + shift_U[self._parts.valid[valid.users_R]]
            return float(abs(valid.values_R - told_R).mean())

        none_U = np.zeros(self._histories.num_users)
        of_items = [biases(trained, shrinkage, _SHRINKAGE) for shrinkage in _SHRINKAGES]
        best = min(of_items, key=lambda known: error(known, none_U))
        of_users = [biases(source, _SHRINKAGE, shrinkage).user_U[self._users] for shrinkage in _SHRINKAGES]
        return best, min(of_users, key=lambda shift_U: error(best, shift_U))

    def _of(self, rows: NDArray[np.int64]) -> Ratings:
        """The ratings in the target log of the users in these rows, by their places among them."""
        users_R, place_R = self._rated.of(rows)
        items_R, values_R = self._rated.values_N[place_R], self._values_R[place_R]
        return Ratings(users_R, items_R, values_R, len(rows), self._num_items)

    def _head(self, encoder: UserEncoder, shape: HeadShape) -> nn.Module:
        num_inputs, item_width = encoder.vector_width, encoder.width
        if shape.of_factors:
            num_inputs, item_width = self._from_UD.shape[1], self._source_VD.shape[1]
        width = self._items_VD.shape[1]
        match shape.bridge:
            case None:
                return RatingHead(num_inputs, shape.hidden, width)
            case "linear":
                return LinearBridge(num_inputs, width)
            case "personal":
                return PersonalBridge(num_inputs, item_width, shape.hidden, width)
            case never:
                assert_never(never)

    def _vectors(self, encoder: UserEncoder, rows: NDArray[np.int64], of_factors: bool) -> NDArray[np.float64]:
        if of_factors:
            return self._from_UD[rows]
        return read_vectors(encoder, self._histories.take(rows), self._end)

    def _rows(self, part: Part) -> NDArray[np.int64]:
        found: NDArray[np.int64] = getattr(self._parts, part)
        return found

    def _train(self, share: float) -> NDArray[np.int64]:
        rows = first_share(self._parts.train, share)
        refuse_few(self.name, f"to train on at label share {share:g}", len(rows), self._config.min_examples)
        return rows


def read_cross_domain(
    source: Corpus, target: Corpus, split: Split, config: CrossDomainTaskConfig, side: Sequence[str]
) -> CrossDomainTask:
    """The task of the target's ratings, for users as they are known in the source under a split.

    Raises:
        UserError: both are one log, one of them has no ratings or equal ones, or too few users are in both.
    """
    if source.manifest.content_fingerprint == target.manifest.content_fingerprint:
        raise UserError(
            f"transfer.corpus {target.uri} is the log that users come from: transfer.task cross_domain asks about "
            "their ratings in another one, prepare that and name it"
        )
    users = read_known(source, split, [*side, RATING])
    raters = Sequences.concat([sequences_of(target.bucket(number, (RATING,))) for number in target.buckets()])
    source_ratings = ratings_of(users, source.manifest.num_items, source.manifest.source_uri)
    ratings = ratings_of(raters, target.manifest.num_items, target.manifest.source_uri)
    if not np.isin(users.users_U, raters.users_U).any():
        raise UserError(
            f"transfer.task cross_domain: no user of {source.manifest.source_uri} is in {target.manifest.source_uri}: "
            "are user ids written in the same way in both logs?"
        )
    key = split.fingerprint(source.manifest, False) + target.manifest.content_fingerprint
    return CrossDomainTask(users, source_ratings, raters.users_U, ratings, split, key, config)


def _digest(ratings: Ratings) -> str:
    return hashlib.sha256(b"".join(column.tobytes() for column in ratings[:3])).hexdigest()
