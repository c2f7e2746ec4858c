"""Labels of users that pretraining may learn from: those of users it trains on whom no later transfer asks about.

Which users these are is told by the recipe's own split and `transfer.task`, by hashes of their ids: the same recipe can
pretrain and transfer, and no label of the users that it validates and tests with has been read by then. By default
two fifths of the labels are given up for that.

Shapes: U users.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ray_userrep.corpus.deal import deal
from ray_userrep.corpus.splits import Split
from ray_userrep.corpus.store import Corpus
from ray_userrep.errors import UserError
from ray_userrep.evaluation.profile import read_attributes, why_not
from ray_userrep.objectives.labels import KnownLabels
from ray_userrep.recipe.transfer import TaskConfig


def read_labels(corpus: Corpus, split: Split, task: TaskConfig, names: Sequence[str]) -> dict[str, KnownLabels]:
    """The labels of users who may be taught of; without names all attributes of which there are enough.

    Raises:
        UserError: the log has no such attribute, or too few labels of it.
    """
    columns = [name for name in corpus.user_columns() if name != "user_id"]
    if not columns:
        raise UserError(
            f"objective.kind labels: {corpus.manifest.source_uri} has no table of users: put users.csv (user_id and "
            "attributes) beside the log, or leave objective.kind labels out"
        )
    for name in names:
        if name not in columns:
            raise UserError(
                f"objective.attributes: no {name!r} among the users' columns {', '.join(columns) or '(none)'}"
            )
    taught_U = taught_users(corpus, split, task)
    users, found = corpus.users_of(taught_U), dict[str, KnownLabels]()
    for name in names or columns:
        attributes = read_attributes(users.select(["user_id", name]), taught_U)
        if names and not attributes:
            raise UserError(f"objective.attributes {name}: {why_not(users[name])}")
        found |= {one.name: KnownLabels(taught_U[one.rows_U], one.values_U, len(one.classes)) for one in attributes}
    if not found:
        raise UserError(f"objective.attributes: none of {', '.join(columns)} has enough labels of two classes")
    return found


def taught_users(corpus: Corpus, split: Split, task: TaskConfig) -> NDArray[np.int64]:
    """Hashes of the users who are trained on and neither validate nor test a task of these shares."""
    trained_U = _trained_on(corpus, split)
    return trained_U[deal(trained_U, task.valid_share, task.test_share, task.seed).train]


def _trained_on(corpus: Corpus, split: Split) -> NDArray[np.int64]:
    """Hashes of the users of whom something is trained on."""
    hashes = (corpus.outline(number, days=False).user_hash_U for number in corpus.buckets())
    return np.concatenate([own[split.train_lengths(corpus, number) > 0] for number, own in enumerate(hashes)])
