"""Predicting an attribute of users from what they did: a class, or a number with many values.

Histories end where the split's test begins, so that an encoder pretrained on the same log has seen no more of the test
users than they themselves had done by then; it never saw an attribute.

Shapes: U users, C classes, or labels of which a user may have several.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from ray_userrep.corpus.deal import UserParts, deal
from ray_userrep.corpus.draws import hash_ids
from ray_userrep.corpus.splits import Cut, Split
from ray_userrep.corpus.store import Corpus
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.evaluation.histories import Sequences
from ray_userrep.evaluation.look_alike import look_alike_metrics
from ray_userrep.evaluation.metrics import Measure, accuracy, auc, mae, r2, rmse, several_auc
from ray_userrep.evaluation.profile import Attribute, is_known, read_attributes, read_vectors, why_not
from ray_userrep.evaluation.simple_vectors import svd, tempo, tf_idf
from ray_userrep.evaluation.statistics import Interval
from ray_userrep.objectives.base import Objective
from ray_userrep.objectives.head import Kind
from ray_userrep.objectives.labels import KnownLabels
from ray_userrep.recipe.transfer import AttributeTaskConfig, LabelTaskConfig, TransferConfig
from ray_userrep.transfer.labels import UserLabels
from ray_userrep.transfer.tasks.base import HeadShape, Part
from ray_userrep.transfer.tasks.columns import UserColumns, as_inputs, read_columns, refuse_leaks
from ray_userrep.transfer.tasks.fusion import fused
from ray_userrep.transfer.tasks.label_baselines import label_baselines
from ray_userrep.transfer.tasks.users import fingerprint, first_share, ids_of, known_users, refuse_few

_RANDOM_WIDTH = 64
_MEASURES: Mapping[Kind, Mapping[str, Measure]] = {
    "classes": {"auc": auc, "accuracy": accuracy},
    "several": {"auc": several_auc},
    "value": {"r2": r2, "mae": mae, "rmse": rmse},
}
TIME = pa.timestamp("us", "UTC")


class AttributeTask:
    """One attribute of the users of a corpus; users without a history are left out, `num_without` of them unseen.

    `columns` are the other ones of the users' table, rows as in `histories`.
    """

    windows: Literal["last", "tile", "random"] = "last"

    def __init__(
        self,
        attribute: Attribute,
        histories: Sequences,
        corpus: Corpus,
        split: Split,
        config: TransferConfig,
        columns: UserColumns,
        num_without: int,
    ) -> None:
        self.name = attribute.name
        self.kind: Kind = "value" if not attribute.classes else "several" if attribute.values_U.ndim == 2 else "classes"
        self.measures = _MEASURES[self.kind]
        self.classes = attribute.classes
        self._num_classes = len(attribute.classes) if self.kind == "classes" else 0
        assert isinstance(config.task, LabelTaskConfig)
        asked, is_active_U = config.task, histories.lengths_U[attribute.rows_U] > 0
        self._num_without = num_without + int((~is_active_U).sum())
        self._histories = histories.take(attribute.rows_U[is_active_U])
        self._labels_U = attribute.values_U[is_active_U]
        self._asked_U = attribute.rows_U[is_active_U]
        self._parts = self._dealt(asked)
        self._corpus = corpus
        self._split = split
        self._key = fingerprint(
            attribute.name,
            split.fingerprint(corpus.manifest, False),
            asked.valid_share,
            asked.test_share,
            asked.seed,
            *(["beside", *columns.names] if config.beside_columns else []),
        )
        self._least = asked.min_examples
        refuse_few(self.name, "in valid", self.num_users("valid"), self._least)
        refuse_few(self.name, "in test", self.num_users("test"), self._least)
        self._columns = columns.take(self._asked_U)
        self._refuse_leaks()
        self._ends_U = self._known_ends()
        self._tempo_UF = tempo(self._histories, self._ends_U, corpus.manifest.order == "time")
        self._own = self._columns.with_numbers("tempo", self._tempo_UF)
        nothing = np.zeros((self._histories.num_users, 0), np.float32)
        self._beside_UE = as_inputs(self._own, self._parts.train) if config.beside_columns else nothing

    def _dealt(self, asked: LabelTaskConfig) -> UserParts:
        return deal(self._histories.users_U, asked.valid_share, asked.test_share, asked.seed)

    def _refuse_leaks(self) -> None:
        several = self.kind == "several"
        for labels_U in self._labels_U.T if several else [self._labels_U]:
            fit, tune = self._train(1.0), self._parts.valid
            refuse_leaks(self.name, self._columns, labels_U, 2 if several else self._num_classes, fit, tune)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the users' table that are known of a user beside the history."""
        return self._columns.names

    def cut(self, share: float) -> Cut:
        """Everything known of the training users when the split's test begins."""
        return known_users(self._histories.users_U[self._train(share)], self._split)

    def data(self, share: float) -> str:
        return f"{self._key}-{share:g}"

    def num_users(self, part: Part, share: float = 1.0) -> int:
        return len(first_share(self._parts.train, share)) if part == "train" else len(self._rows(part))

    def objective(self, encoder: UserEncoder, share: float, shape: HeadShape) -> UserLabels:
        rows = self._train(share)

        def read(frozen: UserEncoder) -> NDArray[np.float64]:
            return self._vectors(frozen, rows)

        known = KnownLabels(self._histories.users_U[rows], self._labels_U[rows], self._num_classes)
        return UserLabels(known, encoder.vector_width, read, self._ends_U[rows], shape.hidden, self._beside_UE[rows])

    def trains(self, name: str) -> bool:
        return False

    def truth(self, part: Part) -> NDArray[np.float64]:
        return self._labels_U[self._rows(part)]

    def activity(self, part: Part) -> NDArray[np.int64]:
        return self._histories.lengths_U[self._rows(part)]

    def predict(self, encoder: UserEncoder, objective: Objective, part: Part) -> NDArray[Any]:
        assert isinstance(objective, UserLabels)
        vectors_UD = objective.once(encoder, part, lambda: self._vectors(encoder, self._rows(part)))
        inputs_UD = np.concatenate([vectors_UD, self._beside_UE[self._rows(part)]], axis=1)
        return objective.head.scores(torch.from_numpy(inputs_UD)).cpu().numpy().astype(np.float64)

    @property
    def reads_columns(self) -> bool:
        """Whether heads read more of a user than the vector."""
        return self._beside_UE.shape[1] > 0

    def known_of(self, part: Part) -> pa.Table:
        """`user_id` and `until` of a part: until when of whom something is known, null where the split says it."""
        users_U = self._histories.users_U[self._rows(part)]
        return pa.table({"user_id": ids_of(self._corpus, users_U), "until": pa.nulls(len(users_U), TIME)})

    def baselines(self, share: float) -> dict[str, NDArray[np.float64]]:
        """What simple systems make of whole histories; the penalty and rounds of each are chosen on validation."""
        rows, bounds = self._in_parts(share)
        return label_baselines(
            self._histories.take(rows),
            self._labels_U[rows],
            bounds,
            self._num_classes,
            self._corpus.manifest.num_items,
            self._tempo_UF[rows],
            self._columns.take(rows),
        )

    def fusion(self, encoder: UserEncoder, shares: Iterable[float]) -> dict[float, dict[str, NDArray[np.float64]]]:
        """What trees predict of the test users at each share, from columns and tempo, the frozen vector, and both."""
        vectors_UF, found = self._vectors(encoder, np.arange(self._histories.num_users)), {}
        for share in shares:
            rows, bounds = self._in_parts(share)
            labels_U = self._labels_U[rows[: bounds[1]]]
            found[share] = fused(self._own.take(rows), vectors_UF[rows], labels_U, bounds, self._num_classes)
        return found

    def thin_users(self) -> dict[str, int]:
        """How many users are left out since they have no history, and how many have one of a single interaction."""
        return {"without_history": self._num_without, "of_one": int((self._histories.lengths_U == 1).sum())}

    def _in_parts(self, share: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of the users to train on, to validate on and to test, end to end, and where the first two end."""
        parts = self._train(share), self._parts.valid, self._parts.test
        return np.concatenate(parts), np.cumsum([len(part) for part in parts])[:2]

    def _known_ends(self) -> NDArray[np.int64]:
        """The time (us) at which what is known of each ends, `[U]`: the same of everybody."""
        return np.full(self._histories.num_users, self._histories.times_N.max(initial=0))

    def _vectors(self, encoder: UserEncoder, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return read_vectors(encoder, self._histories.take(rows), self._ends_U[rows])

    def look_alikes(self, encoders: Mapping[str, UserEncoder], confidence: float) -> dict[str, dict[str, Interval]]:
        """How well test users of a class are found from a few training users of it; empty where there are no classes.

        Beside the encoders' vectors stand singular vectors of item counts, and drawn ones.
        """
        if not self._num_classes:
            return {}
        rows = np.concatenate([self._parts.train, self._parts.test])
        vectors = {name: self._vectors(encoder, rows) for name, encoder in encoders.items()}
        vectors["SVD-128"] = svd(tf_idf(self._histories.take(rows), self._corpus.manifest.num_items), 128)
        vectors["random"] = np.random.default_rng(0).normal(size=(len(rows), _RANDOM_WIDTH))
        return look_alike_metrics(vectors, self._labels_U[rows], len(self._parts.train), confidence)

    def known_until(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The test users, and the time of the newest interaction that is known of each."""
        test = self._histories.take(self._parts.test)
        return test.users_U, test.times_N[test.offsets_U1[1:] - 1]

    def _rows(self, part: Part) -> NDArray[np.int64]:
        found: NDArray[np.int64] = getattr(self._parts, part)
        return found

    def _train(self, share: float) -> NDArray[np.int64]:
        """Rows of a share of the training users.

        Raises:
            UserError: they are too few, or all of one class.
        """
        rows = first_share(self._parts.train, share)
        refuse_few(self.name, f"to train on at label share {share:g}", len(rows), self._least)
        if (self._labels_U[rows] == self._labels_U[rows[0]]).all():
            raise UserError(
                f"transfer.task {self.name}: the {len(rows)} users to train on at label share {share:g} all have the "
                "same label: take larger transfer.label_shares, or another transfer.task.seed"
            )
        return rows


def read_attribute_tasks(
    corpus: Corpus, split: Split, histories: Sequences, config: TransferConfig
) -> list[AttributeTask]:
    """A task for each attribute that is named, or can be asked about where none is.

    Raises:
        UserError: the log has no such attribute, or its labels are of one class or too few.
    """
    users = corpus.users()
    columns = [] if users is None else [name for name in users.column_names if name != "user_id"]
    if users is None or not columns:
        raise UserError(f"transfer.task: {corpus.uri} has no attributes of users to predict: add a table users.*")
    asked = config.task
    assert isinstance(asked, AttributeTaskConfig)
    for name in asked.attributes:
        if name not in columns:
            raise UserError(f"transfer.task.attributes: no {name!r} among the users' columns {', '.join(columns)}")
    found = []
    for name in asked.attributes or columns:
        attributes = read_attributes(users.select(["user_id", name]), histories.users_U)
        if not attributes and asked.attributes:
            raise UserError(f"transfer.task.attributes {name}: {why_not(users[name])}")
        for attribute in attributes:
            own = read_columns(users, histories.users_U, config.columns, name)
            unseen = _unseen(users, name, histories)
            found.append(AttributeTask(attribute, histories, corpus, split, config, own, unseen))
    if not found:
        raise UserError(f"transfer.task: none of {', '.join(columns)} of {corpus.uri} has two classes of enough users")
    return found


def _unseen(users: pa.Table, name: str, histories: Sequences) -> int:
    """How many users have the attribute and are not in the log at all."""
    has_it = is_known(users[name].combine_chunks()).to_numpy(zero_copy_only=False)
    return int((has_it & ~np.isin(hash_ids(users["user_id"]), histories.users_U)).sum())
