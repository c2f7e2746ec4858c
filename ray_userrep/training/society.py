"""What pretraining learns from beside what users do: who is related to whom, and who has the same profile.

Profiles are those of users whom no later transfer, by its shares and seed, validates or tests with: nothing of what it
asks about is used, not even to leave two users untold apart. Relations are those of all users: who is friends with
whom is no label here. Windows of friends are read when the first batch asks for them: a pass over the corpus.

Shapes: U users.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ray_userrep.corpus.relations import Relations, refuse_unrelated
from ray_userrep.corpus.splits import Split
from ray_userrep.corpus.store import Corpus
from ray_userrep.encoder.reading import reads
from ray_userrep.errors import UserError
from ray_userrep.evaluation.profile import Attribute, read_attributes
from ray_userrep.feed.companions import read_companions
from ray_userrep.objectives.social import Profiles, Society
from ray_userrep.recipe.objective import SocialConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.training.labels import taught_users

_PARTS = np.linspace(0.1, 0.9, 9)  # of a number's values: users in the same tenth share it


def read_society(config: SocialConfig, recipe: Recipe, corpus: Corpus, split: Split) -> Society:
    """The relations, profiles and companions that the recipe's social part asks for.

    Raises:
        UserError: the log has no relations, none of the kinds that are wanted, or no such column of users.
    """
    relations = _relations(config.kinds, corpus)
    users_U = np.sort(taught_users(corpus, split, recipe.transfer.task))
    max_len, side = recipe.stream.max_len, reads(recipe.encoder).side
    return Society(
        relations,
        _profiles(config.profile, corpus, users_U),
        lambda: read_companions(corpus, split, relations.users_U, max_len, side),
    )


def _relations(kinds: Sequence[str], corpus: Corpus) -> Relations:
    table, log = corpus.relations(), corpus.manifest.source_uri
    refuse_unrelated(table is not None and table.num_rows > 0, log)
    assert table is not None
    if kinds and "kind" not in table.column_names:
        raise UserError(f"objective.kinds: the relations of {log} have no column kind: leave objective.kinds out")
    relations = Relations.of(table, kinds)
    if not len(relations.users_U):
        there = ", ".join(map(str, table["kind"].unique().to_pylist()))
        raise UserError(f"objective.kinds: {log} has no relation of {', '.join(kinds)}; its kinds are {there}")
    return relations


def _profiles(names: Sequence[str] | None, corpus: Corpus, users_U: NDArray[np.int64]) -> Profiles:
    columns = [name for name in corpus.user_columns() if name != "user_id"]
    missing = next((name for name in names or () if name not in columns), None)
    if missing is not None:
        raise UserError(f"objective.profile: no {missing!r} among the users' columns {', '.join(columns) or '(none)'}")
    wanted = columns if names is None else list(names)
    attributes = read_attributes(corpus.users_of(users_U).select(["user_id", *wanted]), users_U) if wanted else []
    codes_UA = np.zeros((len(users_U), len(attributes)), np.int64)
    for place, attribute in enumerate(attributes):
        codes_UA[attribute.rows_U, place] = 1 + _codes(attribute)
    return Profiles(users_U, codes_UA)


def _codes(attribute: Attribute) -> NDArray[np.int64]:
    """Classes as they are, and in which tenth of all values a number lies."""
    if attribute.classes:
        return attribute.values_U.astype(np.int64)
    return np.searchsorted(np.quantile(attribute.values_U, _PARTS), attribute.values_U)
