"""Predicting the next item in a domain, over the whole catalogue: for users trained on, for new ones, or of new items.

The loss is the one that the encoder was pretrained with, over the domain's own items. Item vectors are the head of such
a task: they train with every arm, since a new domain's items are new to the encoder.

Shapes: U users of a part, V items.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from ray_userrep.corpus import draws
from ray_userrep.corpus.items import ItemTable
from ray_userrep.corpus.splits import TRAIN, Split, SplitPart, resolve
from ray_userrep.corpus.store import Corpus
from ray_userrep.encoder.items.base import ItemEmbedder
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.errors import UserError
from ray_userrep.evaluation.baselines import tuned_baselines
from ray_userrep.evaluation.histories import Histories, read_histories
from ray_userrep.evaluation.metrics import Measure, hit_rate, mean_of, ndcg
from ray_userrep.evaluation.ranking import encoder_scorer, ranks
from ray_userrep.feed.stream import train_counts
from ray_userrep.objectives.base import Objective
from ray_userrep.objectives.build import ObjectiveData, build_objective
from ray_userrep.recipe.corpus import ColdItemConfig, ColdUserConfig, LeaveOneOutConfig, SplitConfig
from ray_userrep.recipe.encoder import EncoderConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.objective import (
    LabelsConfig,
    ObjectiveConfig,
    ReconstructConfig,
    SocialConfig,
    WeightedConfig,
)
from ray_userrep.recipe.transfer import NextItemTaskConfig
from ray_userrep.training.impressions import read_impressions
from ray_userrep.transfer.tasks.base import HeadShape
from ray_userrep.transfer.tasks.users import ChosenUsers, first_share, refuse_few

_ORDER, _NEW_ITEMS = 42, 43


class NextItemTask:
    """The next item of a corpus's users, ranked among all items."""

    measures: Mapping[str, Measure] = {
        "ndcg@10": mean_of(lambda truth_U, ranks_U: ndcg(ranks_U, 10)),
        "hr@10": mean_of(lambda truth_U, ranks_U: hit_rate(ranks_U, 10)),
    }

    def __init__(
        self,
        corpus: Corpus,
        side: Sequence[str],
        config: NextItemTaskConfig,
        objective: ObjectiveConfig,
        evaluation: EvaluationConfig,
        windows: Literal["last", "tile", "random"],
    ) -> None:
        self.name = "next item, cold items" if config.items == "cold" else f"next item, {config.users} users"
        self.windows = windows
        _refuse_of_users(objective)
        self._corpus, self._evaluation, self._objective = corpus, evaluation, objective
        self._split = resolve(_rule(config), corpus)
        self._histories: dict[SplitPart, Histories] = {
            "valid": read_histories(corpus, self._split, "valid", evaluation.max_users, side),
            "test": read_histories(corpus, self._split, "test", evaluation.max_users, side),
        }
        self._users_U = self._training_users(config.seed)
        self._least = config.min_examples
        refuse_few(self.name, "in valid", self.num_users("valid"), self._least)
        refuse_few(self.name, "in test", self.num_users("test"), self._least)

    @property
    def split(self) -> Split:
        """What of each user is trained on, and what is asked about."""
        return self._split

    def cut(self, share: float) -> ChosenUsers:
        """What the task's split trains on, of a share of the users."""
        return ChosenUsers(self._train(share), self._split.training)

    def data(self, share: float) -> str:
        return f"{self._split.fingerprint(self._corpus.manifest, self._evaluation.exclude_seen)}-{share:g}"

    def num_users(self, part: SplitPart | Literal["train"], share: float = 1.0) -> int:
        return len(first_share(self._users_U, share)) if part == "train" else self._histories[part].num_users

    def objective(self, encoder: UserEncoder, share: float, shape: HeadShape) -> Objective:
        """The pretraining objective over this catalogue; it has no other head than the item vectors."""
        assert encoder.item_table is not None
        data = ObjectiveData(
            encoder.item_table,
            self._corpus.manifest.side_columns,
            partial(train_counts, self._corpus, self._split),
            impressions=partial(read_impressions, corpus=self._corpus),
        )
        return build_objective(self._objective, EncoderConfig.model_validate(encoder.config.encoder), data)

    def trains(self, name: str) -> bool:
        return name.startswith("items.")

    def truth(self, part: SplitPart) -> NDArray[np.int64]:
        return self._histories[part].targets_U

    def activity(self, part: SplitPart) -> NDArray[np.int64]:
        return self._histories[part].lengths_U

    def predict(self, encoder: UserEncoder, objective: Objective, part: SplitPart) -> NDArray[Any]:
        """The rank of each user's target, from 1."""
        histories, num_items = self._histories[part], encoder.config.num_items
        return ranks(encoder_scorer(encoder), histories, num_items, self._evaluation.exclude_seen)

    def baselines(self, share: float) -> dict[str, NDArray[np.float64]]:
        """Ranks by the simple baselines, which learn from all training users at any share."""
        tuned = tuned_baselines(self._corpus, self._split, self._evaluation)
        return {name: one.ranks_U.astype(np.float64) for name, one in tuned.items()}

    def known_until(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The test users, and the time of the newest interaction that is known of each."""
        test = self._histories["test"]
        return test.users_U, test.times_N[test.offsets_U1[1:] - 1]

    def held_out(self) -> pa.Array | None:
        """Ids of the items that are held out whole; None where users or interactions are."""
        part_V = self._split.part_V
        return None if part_V is None else self._corpus.items().ids.filter(pa.array(part_V != TRAIN))

    def _train(self, share: float) -> NDArray[np.int64]:
        users_U = first_share(self._users_U, share)
        refuse_few(self.name, f"to train on at label share {share:g}", len(users_U), self._least)
        return users_U

    def _training_users(self, seed: int) -> NDArray[np.int64]:
        """Users with something to train on, in the order in which smaller shares take them."""
        found = [np.zeros(0, np.int64)]
        for number in self._corpus.buckets():
            bucket = self._corpus.bucket(number)
            found.append(bucket.user_hash_U[self._split.training(bucket)[1] > 1])
        users_U = np.concatenate(found)
        return users_U[np.argsort(draws.bits(_ORDER, seed, users_U), kind="stable")]


def _refuse_of_users(objective: ObjectiveConfig) -> None:
    """Check that an objective learns from interactions alone, before anything is pretrained with it.

    Raises:
        UserError: it learns from what is known of users as well.
    """
    parts = [part.objective for part in objective.parts] if isinstance(objective, WeightedConfig) else [objective]
    kind = next((one.kind for one in parts if isinstance(one, SocialConfig | LabelsConfig | ReconstructConfig)), None)
    if kind is not None:
        raise UserError(
            f"objective.kind {kind} is for pretraining: pretrain first, then transfer to next items with "
            "--transfer.encoder RUN and an objective of items, as --objective.kind autoencoding"
        )


def _rule(config: NextItemTaskConfig) -> SplitConfig:
    shares = {"valid_share": config.valid_share, "test_share": config.test_share, "seed": config.seed}
    if config.items == "cold":
        return ColdItemConfig.model_validate(shares)
    if config.users == "cold":
        return ColdUserConfig.model_validate(shares | {"max_known": config.max_known})
    return LeaveOneOutConfig()


def over_items(encoder: UserEncoder, table: ItemTable, seed: int) -> tuple[UserEncoder, int]:
    """The encoder over another catalogue, and how many of its items it knows.

    Items that it does not know get vectors of their own, drawn: the mean vector, which serves where nothing is trained,
    would start them all alike.

    Raises:
        UserError: its items come from texts, and the catalogue has none.
    """
    if encoder.config.text_width and table.text_vectors() is None:
        raise UserError("the encoder's items are made from texts, which the corpus to transfer to does not have")
    is_new_V = torch.from_numpy(encoder.known(table) < 0)
    other = encoder.with_items(table)
    generator = torch.Generator().manual_seed(draws.seed_of(_NEW_ITEMS, seed))
    for module in other.items.modules():
        if isinstance(module, ItemEmbedder) and module.per_item:
            weight = module.weight
            assert isinstance(weight, torch.Tensor)
            drawn = torch.randn(int(is_new_V.sum()), weight.shape[1], generator=generator) * weight.shape[1] ** -0.5
            with torch.no_grad():
                weight[is_new_V.to(weight.device)] = drawn.to(weight)
    return other, int((~is_new_V).sum())
