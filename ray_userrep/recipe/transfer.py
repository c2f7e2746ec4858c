"""What an encoder is transferred to, by which arms, and how often.

The arms are compared on equal terms: the same users, the same seeds, and each with the learning rate and the readout
that validation prefers. That costs a fit for each pair of them.
"""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, model_validator

from ray_userrep.recipe.settings import Settings

ArmName = Literal[
    "scratch",
    "frozen_mlp",
    "head_only",
    "last_layers",
    "full",
    "lora",
    "serial_patches",
    "parallel_patches",
    "peter_zero",
    "uaf_hard",
    "uaf_soft",
    "uaf_rewards",
    "uaf_random",
    "unisrec_inductive",
    "unisrec_transductive",
    "unisrec_zero",
    "linear_bridge",
    "personal_bridge",
    "emcdr",
    "ptupcdr",
]
BRIDGES: tuple[ArmName, ...] = ("linear_bridge", "personal_bridge", "emcdr", "ptupcdr")
Share = Annotated[float, Field(gt=0, le=1)]


class _Users(Settings):
    """How a task's users are dealt out."""

    valid_share: float = Field(0.2, gt=0, lt=0.5, description="share of the task's users that validate")
    test_share: float = Field(0.2, gt=0, lt=0.5, description="share of the task's users that test")
    seed: NonNegativeInt = Field(0, description="another seed deals the users out anew")
    min_examples: int = Field(10, ge=1, description="fewest users to train on at any label share, or to test on")


class AttributeTaskConfig(_Users):
    """Predict attributes of users from what they did before the split's test; each attribute is a task."""

    kind: Literal["attribute"] = "attribute"
    attributes: tuple[str, ...] = Field(
        (), description="columns of the log's table of users to predict; by default all that can be"
    )


class ReturnTaskConfig(_Users):
    """Predict who comes back after the split's test begins, from what they did before; the others have churned."""

    kind: Literal["return"] = "return"
    days: int = Field(
        28, ge=1, description="return or churn: a user who is active again within so many days has come back"
    )
    active_days: int | None = Field(
        None, ge=1, description="ask only about users who were active in so many days before the cut; none: about all"
    )


class NextCategoryTaskConfig(_Users):
    """Predict the categories of each user's next item, the first of the split's test; an item may have several."""

    kind: Literal["next_category"] = "next_category"
    column: str = Field(
        "category",
        min_length=1,
        description="column of the item table whose values are predicted; text is its words",
    )


LabelColumn = Literal["user_id", "until", "label", "labels", "split"]


class TableTaskConfig(_Users):
    """Predict labels of one's own, from what each user did before the date that stands beside the label."""

    kind: Literal["labels"] = "labels"
    labels: str = Field(
        min_length=1,
        description="file or folder of rows with user_id and label (a category or a number) or labels (a list, JSON, "
        "or a|b), maybe until (of the history only what lies before counts) and split (train, validation, test)",
    )
    columns: dict[LabelColumn, str] = Field(
        {}, description='what the table calls them, e.g. {"user_id": "customer", "until": "day", "label": "churned"}'
    )


LabelTaskConfig = AttributeTaskConfig | ReturnTaskConfig | NextCategoryTaskConfig | TableTaskConfig


class CrossDomainTaskConfig(_Users):
    """Predict how users rate the items of another log, from what they did in this one; the same users are in both."""

    kind: Literal["cross_domain"] = "cross_domain"
    valid_share: float = Field(0.1, gt=0, lt=0.5, description="share of the users of both logs that validate")
    test_share: float = Field(
        0.2, gt=0, lt=1, description="share of the users of both logs that test: none of their ratings is trained on"
    )
    width: int = Field(10, ge=1, description="numbers of a user and of an item where ratings are factorised")
    liked_above: float = Field(
        3.0, description="items rated higher were liked: they are ranked in the other log, and read by personal bridges"
    )
    num_liked: int = Field(20, ge=1, description="personal bridges read so many of the newest items that a user liked")

    @model_validator(mode="after")
    def _leaves_training_users(self) -> "CrossDomainTaskConfig":
        if self.valid_share + self.test_share >= 1:
            raise ValueError(
                f"transfer.task.valid_share {self.valid_share:g} and test_share {self.test_share:g} leave no users to "
                "train on: together they must be below 1"
            )
        return self


class NextItemTaskConfig(_Users):
    """Predict the next item; what is cold, users or items, is held out whole."""

    kind: Literal["next_item"] = "next_item"
    users: Literal["warm", "cold"] = Field(
        "warm",
        description="warm: test users are also trained on, but for their last interactions; cold: they never were",
    )
    items: Literal["all", "cold"] = Field(
        "all",
        description="all: test users' items; cold: items that were never seen in training, pretraining "
        "included, are predicted "
        "(the shares are then of items, not of users)",
    )

    max_known: int | None = Field(
        None,
        ge=1,
        description="users cold: of a test user so many first interactions at most are known, and the next one is "
        "predicted; none: all but the last",
    )

    @model_validator(mode="after")
    def _one_of_them_cold(self) -> "NextItemTaskConfig":
        if self.max_known is not None and self.users == "warm":
            raise ValueError(
                f"transfer.task.max_known {self.max_known} is for users who are new: take transfer.task.users cold"
            )
        if self.users == self.items == "cold":
            raise ValueError("transfer.task holds out users or items: users cold and items cold do not go together")
        return self


TaskConfig = Annotated[
    AttributeTaskConfig
    | ReturnTaskConfig
    | NextCategoryTaskConfig
    | TableTaskConfig
    | CrossDomainTaskConfig
    | NextItemTaskConfig,
    Field(discriminator="kind"),
]


class TransferConfig(Settings):
    """One comparison of arms over seeds and label shares."""

    encoder: str | None = Field(
        None, min_length=1, description="run or encoder folder to start from; none: pretrain first, as the recipe says"
    )
    corpus: str | None = Field(
        None,
        min_length=1,
        description="prepared corpus to transfer to; none: the one of the recipe. cross_domain: that of the ratings",
    )
    task: TaskConfig = Field(default_factory=AttributeTaskConfig)
    arms: tuple[ArmName, ...] = Field(
        ("scratch", "frozen_mlp", "head_only", "last_layers", "full", "lora"),
        min_length=1,
        description="ways to adapt the encoder; patches go into cnn and transformer backbones, policies of "
        "uaf into hstu as well; unisrec_transductive and unisrec_zero add ids to texts; bridges are for cross_domain, "
        "from the user vector, or as emcdr and ptupcdr from factors of ratings",
    )
    label_shares: tuple[Share, ...] = Field((1.0,), min_length=1, description="shares of the training users, nested")
    num_seeds: int = Field(3, ge=1, le=10_000, description="fits of each arm, from recipe.seed on")
    pretrain_seeds: int = Field(
        1,
        ge=1,
        le=10_000,
        description="pretrainings that those fits start from in turn, from recipe.seed on; as many as num_seeds: each "
        "fit from one of its own, so that intervals hold for another pretraining, too",
    )

    epochs: float = Field(30.0, gt=0, description="passes over a task's training users")
    min_steps: int = Field(
        1,
        ge=1,
        description="fewest optimiser steps to plan a fit for: a small share of the labels is passed over more "
        "often, with as many validations",
    )
    patience: int | None = Field(5, ge=1, description="validations without a better figure before stopping")
    batch_tokens: int = Field(4096, ge=1, description="interactions, or targets, in a global batch")
    learning_rates: tuple[PositiveFloat, ...] = Field(
        (1e-3,), min_length=1, description="each arm and seed takes the one that validation prefers"
    )
    readouts: tuple[Literal["own", "last", "mean", "whole"], ...] = Field(
        ("own", "whole"),
        min_length=1,
        description="states that heads over labels read: the encoder's own readout, the newest, the mean of the newest "
        "window or of all the history; each arm and seed takes the one that validation prefers",
    )
    weight_decay: float = Field(0.01, ge=0, description="of AdamW, as train.weight_decay")

    columns: tuple[str, ...] | None = Field(
        None,
        description="columns of the table of users that boosted trees read with and without the user vector; none: all "
        "but the one that is predicted, []: only when and how often users came",
    )
    beside_columns: bool = Field(
        False, description="heads over labels read transfer.columns and tempo beside the user vector, in every arm"
    )

    hidden: int = Field(128, ge=1, description="frozen_mlp: hidden width of the head")
    num_last: int = Field(1, ge=1, description="last_layers: blocks that train, from the last")
    lora_rank: int = Field(8, ge=1, description="lora: rank of each change")
    patch_reduction: int = Field(4, ge=1, description="patches: the encoder's width over a patch's")
    bridge_hidden: int = Field(50, ge=1, description="personal bridges: hidden width of the network that makes a map")
    keep: ArmName | Literal["best"] | None = Field(
        "best",
        description="arm that is kept under models/ of the run, of the largest label share and the seed "
        "that validates best; best: of all arms that can be written as plain weights",
    )
    allow_overlap: bool = Field(
        False, description="let pretraining see what lies after the task's test begins; where users only share ids"
    )

    @model_validator(mode="after")
    def _combinations(self) -> "TransferConfig":
        if isinstance(self.task, NextItemTaskConfig) and "frozen_mlp" in self.arms:
            raise ValueError(
                "transfer.arms frozen_mlp is a head over labels, which transfer.task.kind next_item has none of: "
                "use head_only, which trains the item vectors"
            )
        bridge = next((name for name in self.arms if name in BRIDGES), None)
        if bridge is not None and not isinstance(self.task, CrossDomainTaskConfig):
            raise ValueError(
                f"transfer.arms {bridge} brings users to another domain, of which transfer.task.kind {self.task.kind} "
                "has none: take cross_domain"
            )
        has_labels = isinstance(self.task, LabelTaskConfig)
        if not has_labels and "uaf_rewards" in self.arms:
            raise ValueError(
                "transfer.arms uaf_rewards learns from each user's loss over a label, which transfer.task.kind "
                f"{self.task.kind} has none of: use uaf_hard or uaf_soft"
            )
        if not has_labels and (self.columns is not None or self.beside_columns):
            raise ValueError(
                "transfer.columns and transfer.beside_columns are for labels of users, which transfer.task.kind "
                f"{self.task.kind} has none of: leave them out"
            )
        if self.pretrain_seeds > 1 and self.encoder is not None:
            raise ValueError(
                f"transfer.pretrain_seeds {self.pretrain_seeds} pretrains as often, and transfer.encoder names an "
                "encoder that is there: leave one of them out"
            )
        if self.pretrain_seeds > self.num_seeds:
            raise ValueError(
                f"transfer.pretrain_seeds {self.pretrain_seeds}: only transfer.num_seeds {self.num_seeds} fits start "
                "from them; raise transfer.num_seeds"
            )
        if self.keep not in (None, "best", *self.arms):
            raise ValueError(f"transfer.keep {self.keep} is not among transfer.arms {', '.join(self.arms)}")
        for name, values in (
            ("arms", self.arms),
            ("label_shares", self.label_shares),
            ("readouts", self.readouts),
            ("columns", self.columns or ()),
        ):
            if len(set(values)) != len(values):
                raise ValueError(f"transfer.{name} names one of them twice")
        return self
