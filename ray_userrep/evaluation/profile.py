"""What can be read about a user from a frozen vector: the second judge of a representation, beside ranking.

A linear model is fitted on the vectors of some users and asked about the attributes of others (probe.py). The encoder
never sees an attribute. Beside it stand the majority, and the same linear model on what anybody has without training:
the item counts of the whole history by tf-idf, and as many of their singular vectors as the vector has numbers. Vector
and counts together tell whether the one adds to the other.

Shapes: U users, D features, C classes, N interactions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.preprocessing import scale

from ray_userrep.corpus import draws
from ray_userrep.corpus.draws import hash_ids
from ray_userrep.corpus.splits import Split
from ray_userrep.corpus.store import Corpus
from ray_userrep.encoder.histories import user_vectors
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.evaluation.histories import Sequences, read_known
from ray_userrep.evaluation.metrics import accuracy, auc, r2, resamples
from ray_userrep.evaluation.probe import Table, linear_probe
from ray_userrep.evaluation.simple_vectors import svd, tf_idf
from ray_userrep.feed.batch import TIMESTAMPS
from ray_userrep.recipe.evaluation import EvaluationConfig

MAX_CLASSES, _MIN_CLASS_USERS, _MIN_USERS = 30, 10, 100
_TEST_SHARE = _TUNING_SHARE = 0.2
_TEST_DRAW, _TUNING_DRAW, _RESAMPLE_SEED, _NUM_RESAMPLES = 30, 31, 0, 200
_COUNTS = "tf-idf"
_BOTH = "encoder and tf-idf"

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
    if len(corpus.user_columns()) < 2:
        return {}
    histories = read_known(corpus, split, encoder.side_columns, config.fitted_users)
    users = corpus.users_of(histories.users_U)
    asked = [name for name in users.column_names if name not in encoder.attributes]  # what is read is no finding
    attributes = read_attributes(users.select(asked), histories.users_U)
    if not attributes:
        return {}
    features: dict[str, Table] = {"encoder": read_vectors(encoder, histories)}
    if config.baselines:
        features |= simple_features(histories, corpus.manifest.num_items, encoder.vector_width)
        features[_BOTH] = beside(features["encoder"], features[_COUNTS])
    return {attribute.name: measure_attribute(attribute, features, config.confidence) for attribute in attributes}


def read_vectors(encoder: UserEncoder, histories: Sequences, until: int | NDArray[np.int64] | None = None) -> Features:
    """The encoder's vector of each history, `[U, F]`, as of a moment of all or of each (us), or the newest of any."""
    columns = {TIMESTAMPS: histories.times_N} | histories.side_N
    until = int(histories.times_N.max(initial=0)) if until is None else until
    moments = torch.from_numpy(until) if isinstance(until, np.ndarray) else until
    return user_vectors(encoder, histories.items_N, histories.lengths_U, columns, moments).astype(np.float64)


def simple_features(histories: Sequences, num_items: int, width: int) -> dict[str, Table]:
    """What a vector of so many numbers is compared with, by name."""
    counts_UV = tf_idf(histories, num_items)
    return {_COUNTS: counts_UV, f"SVD-{width}": svd(counts_UV, width)}


def beside(vectors_UF: Features, counts_UV: csr_matrix) -> csr_matrix:
    """Vectors brought to one variance a number and to about the length of the rows that stand beside them."""
    return hstack([csr_matrix(scale(vectors_UF) / vectors_UF.shape[1] ** 0.5), counts_UV]).tocsr()


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
            attribute = attribute_of(name, column, order[place[is_there]], hashes_U)
            found += [attribute] if attribute is not None else []
    return found


def attribute_of(name: str, column: pa.Array, rows: NDArray[np.int64], hashes_U: NDArray[np.int64]) -> Attribute | None:
    """A column as an attribute of the users in these rows; None where it says too little, or too much, of them."""
    if pa.types.is_nested(column.type):
        return None  # a list is neither a class nor a quantity
    known = is_known(column)
    rows, column = rows[known.to_numpy(zero_copy_only=False)], column.filter(known)
    encoded = column.dictionary_encode()
    codes, labels = encoded.indices.to_numpy(), encoded.dictionary
    if len(labels) > MAX_CLASSES and is_quantity(column.type):
        values, classes = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False), []
    else:
        frequent = np.flatnonzero(np.bincount(codes, minlength=len(labels)) >= _MIN_CLASS_USERS)
        if not 2 <= len(frequent) <= MAX_CLASSES:
            return None
        kept = np.isin(codes, frequent)
        rows, values = rows[kept], np.searchsorted(frequent, codes[kept]).astype(np.float64)
        classes = [str(labels[int(code)]) for code in frequent]
    if len(rows) < _MIN_USERS:
        return None
    return Attribute(name, rows, values, classes, draws.uniforms(_TEST_DRAW, hashes_U[rows]) < _TEST_SHARE)


def why_not(column: pa.ChunkedArray) -> str:
    """Why an attribute cannot be asked about."""
    known = column.drop_null()
    if pa.types.is_nested(column.type):
        return "its values are lists or records, neither classes nor numbers"
    num_classes = len(known.unique())
    if num_classes < 2:
        return "its labels are of one class: there is nothing to tell apart"
    return (
        f"{len(known)} labels of {num_classes} classes are too few: it takes {_MIN_USERS} users, and two to thirty "
        "classes of ten users each, or numbers"
    )


def is_known(column: pa.Array) -> pa.Array:
    """Where a value is neither null nor a number that is not finite, which pandas and numpy write for a missing one."""
    return pc.is_finite(column).fill_null(False) if pa.types.is_floating(column.type) else column.is_valid()


def is_quantity(kind: pa.DataType) -> bool:
    """Whether values of this type are numbers."""
    return pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)


def measure_attribute(attribute: Attribute, features: Mapping[str, Table], confidence: float) -> dict[str, Any]:
    """The attribute's metrics for each kind of features, aligned with the users, with bootstrap intervals.

    Those of the `encoder` are standardised. They, and both together, are compared with the best simple ones, by users.
    """
    truth_U = attribute.values_U[attribute.is_test_U]
    predicted = {
        name: _predict(attribute, x_UF[attribute.rows_U], standardise=name == "encoder")
        for name, x_UF in features.items()
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
    simple = [name for name in features if name not in ("encoder", _BOTH)]
    if simple:
        best = max(simple, key=lambda name: metrics[name][headline]["mean"])
        for system, name in (("encoder", "over_best_simple"), (_BOTH, "both_over_best_simple")):
            if system in metrics:
                difference = metrics[system][headline]["mean"] - metrics[best][headline]["mean"]
                paired = drawn[system][headline] - drawn[best][headline]
                result[name] = {"system": system, "baseline": best, **_interval(difference, paired, confidence)}
    return result


def _predict(attribute: Attribute, x_UF: Table, standardise: bool) -> NDArray[np.float64]:
    """Class probabilities of the test users, `[U, C]`, or their values, `[U]`; the penalty is chosen on others."""
    train = np.flatnonzero(~attribute.is_test_U)
    is_tuning = draws.uniforms(_TUNING_DRAW, attribute.rows_U[train]) < _TUNING_SHARE
    parts = train[~is_tuning], train[is_tuning], np.flatnonzero(attribute.is_test_U)
    return linear_probe(x_UF, attribute.values_U, *parts, len(attribute.classes), standardise)


def _interval(mean: float, drawn: NDArray[np.float64], confidence: float) -> Metric:
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return {"mean": float(mean), "low": float(low), "high": float(high)}
