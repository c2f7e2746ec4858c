"""What can be read about a user from a frozen vector: the second judge of a representation, beside ranking.

A linear model is fitted on the vectors of some users and asked about the attributes of others. It is kept linear on
purpose: it measures what the vector says, not what a strong model could dig out of it. The encoder never sees an
attribute. Beside it stand the majority, and the same linear model on the user's item counts, reduced to their leading
singular vectors so that it can be fitted in seconds.

Shapes: U users, D features, C classes, N interactions.
"""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.decomposition import TruncatedSVD
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler, normalize

from ray_userrep.corpus import draws
from ray_userrep.corpus.draws import hash_ids
from ray_userrep.corpus.splits import Split
from ray_userrep.corpus.store import Corpus
from ray_userrep.encoder.histories import user_vectors
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.evaluation.histories import Sequences, read_known
from ray_userrep.evaluation.metrics import accuracy, auc, r2, resamples
from ray_userrep.feed.batch import TIMESTAMPS
from ray_userrep.recipe.evaluation import EvaluationConfig

_MAX_CLASSES, _MIN_CLASS_USERS, _MIN_USERS = 30, 10, 100
_TEST_SHARE = _TUNING_SHARE = 0.2
_TEST_DRAW, _TUNING_DRAW, _RESAMPLE_SEED, _NUM_RESAMPLES = 30, 31, 0, 200
_COUNT_COMPONENTS = 128
_LOGISTIC_C, _RIDGE_ALPHA = (0.003, 0.03, 0.3), (1.0, 30.0, 1000.0)
_COUNTS = "item counts"

Features = NDArray[np.float64]
Metric = dict[str, float]


@dataclass(frozen=True)
class Attribute:
    """One attribute of the users in `rows_U`: class codes, or values where `classes` is empty."""

    name: str
    rows_U: NDArray[np.int64]
    values_U: NDArray[np.float64]
    classes: list[str]
    is_test_U: NDArray[np.bool_]

    @property
    def headline(self) -> str:
        return "auc" if self.classes else "r2"


def measure_profile(corpus: Corpus, split: Split, encoder: UserEncoder, config: EvaluationConfig) -> dict[str, Any]:
    """For each attribute of the users, how well it is read from their vectors; empty where the log has none.

    Vectors are those of everything before the held-out test item. Users are split by a hash of their id, so that every
    encoder is asked about the same ones.
    """
    users = corpus.users()
    if users is None:
        return {}
    histories = read_known(corpus, split, encoder.side_columns)
    features = {"encoder": read_vectors(encoder, histories)}
    attributes = read_attributes(users, histories.users_U)
    if config.baselines and attributes:
        features[_COUNTS] = count_features(histories, corpus.manifest.num_items)
    return {attribute.name: measure_attribute(attribute, features, config.confidence) for attribute in attributes}


def read_vectors(encoder: UserEncoder, histories: Sequences) -> Features:
    """The encoder's vector of each history, `[U, F]`."""
    columns = {TIMESTAMPS: histories.times_N} | histories.side_N
    return user_vectors(encoder, histories.items_N, histories.lengths_U, columns).astype(np.float64)


def count_features(histories: Sequences, num_items: int) -> Features:
    """Leading singular vectors of each user's log counts of items, with one scale for all of them, `[U, D]`.

    Rows have unit length before, so that busy users do not take up the leading vectors; the singular values stay, since
    equal scales would let the smallest ones, mostly noise, speak as loudly as the largest.
    """
    ones = np.ones(len(histories.items_N))
    counts = csr_matrix((ones, histories.items_N, histories.offsets_U1), shape=(histories.num_users, num_items))
    counts.sum_duplicates()
    counts.data = np.log1p(counts.data)
    components = min(_COUNT_COMPONENTS, num_items - 1, histories.num_users - 1)
    reduced: Features = TruncatedSVD(components, random_state=0).fit_transform(normalize(counts))
    return reduced / reduced.std()


def read_attributes(users: pa.Table, hashes_U: NDArray[np.int64]) -> list[Attribute]:
    """The attributes worth asking about: a number with many values, or classes of which two have enough users."""
    order = np.argsort(hashes_U)
    known = hash_ids(users["user_id"])
    place = np.searchsorted(hashes_U[order], known).clip(max=len(order) - 1)
    is_there = hashes_U[order][place] == known
    found = []
    for name in users.column_names:
        if name != "user_id":
            column = users[name].combine_chunks().filter(pa.array(is_there))
            attribute = _attribute(name, column, order[place[is_there]], hashes_U)
            found += [attribute] if attribute is not None else []
    return found


def _attribute(name: str, column: pa.Array, rows: NDArray[np.int64], hashes_U: NDArray[np.int64]) -> Attribute | None:
    if pa.types.is_nested(column.type):
        return None  # a list is neither a class nor a quantity
    known = _is_known(column)
    rows, column = rows[known.to_numpy(zero_copy_only=False)], column.filter(known)
    encoded = column.dictionary_encode()
    codes, labels = encoded.indices.to_numpy(), encoded.dictionary
    if len(labels) > _MAX_CLASSES and _is_quantity(column.type):
        values, classes = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False), []
    else:
        frequent = np.flatnonzero(np.bincount(codes, minlength=len(labels)) >= _MIN_CLASS_USERS)
        if not 2 <= len(frequent) <= _MAX_CLASSES:
            return None
        kept = np.isin(codes, frequent)
        rows, values = rows[kept], np.searchsorted(frequent, codes[kept]).astype(np.float64)
        classes = [str(labels[int(code)]) for code in frequent]
    if len(rows) < _MIN_USERS:
        return None
    return Attribute(name, rows, values, classes, draws.uniforms(_TEST_DRAW, hashes_U[rows]) < _TEST_SHARE)


def _is_known(column: pa.Array) -> pa.Array:
    """Neither null nor a number that is not finite, which is how pandas and numpy write a missing one."""
    return pc.is_finite(column).fill_null(False) if pa.types.is_floating(column.type) else column.is_valid()


def _is_quantity(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)


def measure_attribute(attribute: Attribute, features: dict[str, Features], confidence: float) -> dict[str, Any]:
    """The attribute's metrics for each kind of features, aligned with the users, with bootstrap intervals."""
    truth_U = attribute.values_U[attribute.is_test_U]
    predicted = {
        name: _fit_predict(attribute, x_UD[attribute.rows_U], standardise=name != _COUNTS)
        for name, x_UD in features.items()
    }
    measures = {"accuracy": accuracy, "auc": auc} if attribute.classes else {"r2": r2}
    rng = np.random.default_rng(_RESAMPLE_SEED)
    drawn = {system: {m: np.zeros(_NUM_RESAMPLES) for m in measures} for system in predicted}
    for rows, weights_RU in resamples(rng, len(truth_U), _NUM_RESAMPLES):
        for (system, p), (m, measure) in product(predicted.items(), measures.items()):
            drawn[system][m][rows] = measure.weighted(truth_U, p, weights_RU)
    metrics = {
        system: {m: _interval(measure(truth_U, p), drawn[system][m], confidence) for m, measure in measures.items()}
        for system, p in predicted.items()
    }
    if attribute.classes:
        share = float(np.bincount(truth_U.astype(int)).max() / len(truth_U))
        metrics["majority"] = {"accuracy": {"mean": share, "low": share, "high": share}}
    headline = attribute.headline
    result: dict[str, Any] = {
        "headline": headline,
        "classes": attribute.classes,
        "users": {"train": int((~attribute.is_test_U).sum()), "test": int(attribute.is_test_U.sum())},
        "metrics": metrics,
    }
    if {"encoder", _COUNTS} <= set(metrics):
        difference = metrics["encoder"][headline]["mean"] - metrics[_COUNTS][headline]["mean"]
        paired = drawn["encoder"][headline] - drawn[_COUNTS][headline]
        result["over_item_counts"] = _interval(difference, paired, confidence)
    return result


def _fit_predict(attribute: Attribute, x_UD: Features, standardise: bool) -> NDArray[np.float64]:
    """Class probabilities of the test users, `[U, C]`, or their values, `[U]`; the penalty is chosen on others."""
    train = np.flatnonzero(~attribute.is_test_U)
    is_tuning = draws.uniforms(_TUNING_DRAW, attribute.rows_U[train]) < _TUNING_SHARE
    if standardise:
        x_UD = StandardScaler().fit(x_UD[train]).transform(x_UD)
    y_U = attribute.values_U
    fit, tune = train[~is_tuning], train[is_tuning]
    penalties = _LOGISTIC_C if attribute.classes else _RIDGE_ALPHA
    scores = [
        _score(_model(attribute, penalty).fit(x_UD[fit], y_U[fit]), x_UD[tune], y_U[tune]) for penalty in penalties
    ]
    best = _model(attribute, penalties[int(np.argmax(scores))]).fit(x_UD[train], y_U[train])
    test_UD = x_UD[attribute.is_test_U]
    if not attribute.classes:
        return np.asarray(best.predict(test_UD))
    probabilities_UC = np.zeros((len(test_UD), len(attribute.classes)))
    probabilities_UC[:, best.classes_.astype(int)] = best.predict_proba(test_UD)
    return probabilities_UC


def _model(attribute: Attribute, penalty: float) -> Any:
    return LogisticRegression(C=penalty, max_iter=2000) if attribute.classes else Ridge(alpha=penalty)


def _score(model: Any, x_UD: Features, y_U: NDArray[np.float64]) -> float:
    return float(model.score(x_UD, y_U)) if isinstance(model, Ridge) else _log_likelihood(model, x_UD, y_U)


def _log_likelihood(model: Any, x_UD: Features, y_U: NDArray[np.float64]) -> float:
    known = np.isin(y_U, model.classes_)
    column = np.searchsorted(model.classes_, y_U[known])
    return float(np.log(model.predict_proba(x_UD[known])[np.arange(len(column)), column] + 1e-12).mean())


def _interval(mean: float, drawn: NDArray[np.float64], confidence: float) -> Metric:
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return {"mean": float(mean), "low": float(low), "high": float(high)}
