"""Which objective is pretrained with, and which item softmax it uses.

Each config says what it cannot be combined with, so that a recipe is refused before any work starts.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ray_userrep.recipe.encoder import (
    POOLED,
    TIME_FIELDS,
    WHOLE_HISTORY,
    EncoderConfig,
    FieldName,
    GNNConfig,
    MeanConfig,
    RowItemsConfig,
)
from ray_userrep.recipe.logs import TimestampUnit
from ray_userrep.recipe.settings import Settings


class _Softmax(Settings):
    temperature: float | None = Field(
        None, gt=0, description="scores are cosines over this, with encoder.unit_items; none: plain products"
    )


class FullSoftmaxConfig(_Softmax):
    """Cross-entropy over the whole catalogue, in chunks."""

    kind: Literal["full"] = "full"


class SampledSoftmaxConfig(_Softmax):
    """A loss over sampled negatives: softmax corrected for how they were sampled, BCE or gBCE."""

    kind: Literal["sampled"] = "sampled"
    num_negatives: int = Field(1024, ge=1, description="negatives shared by a global batch, drawn with replacement")
    sampler: Literal["counts", "log_uniform", "in_batch", "mixed"] = Field(
        "counts", description="by training counts, by rank, from the batch's targets, or half counts and half batch"
    )
    alpha: float = Field(0.75, ge=0, le=1, description="counts, mixed: counts to this power; 0 is uniform")
    loss: Literal["softmax", "bce", "gbce"] = Field(
        "softmax", description="softmax with logQ; binary cross-entropy; the same calibrated (gSASRec)"
    )
    calibration: float = Field(0.75, ge=0, le=1, description="gbce: t, from 0 (plain bce) to 1 (calibrated in full)")


class InBatchSoftmaxConfig(_Softmax):
    """Cross-entropy against the other targets of the batch, over all workers; the same item is no negative."""

    kind: Literal["in_batch"] = "in_batch"
    num_hard: int | None = Field(
        None, ge=1, description="use only so many of the hardest negatives, of other users; none: all"
    )
    semi_hard: bool = Field(
        False, description="hardest of those that score no higher than the truth, where there are so many"
    )

    @model_validator(mode="after")
    def _fields_agree(self) -> "InBatchSoftmaxConfig":
        if self.semi_hard and self.num_hard is None:
            raise ValueError("objective.softmax.semi_hard needs objective.softmax.num_hard: how many")
        return self


SoftmaxConfig = Annotated[FullSoftmaxConfig | SampledSoftmaxConfig | InBatchSoftmaxConfig, Field(discriminator="kind")]


def _softmax_refusal(softmax: SoftmaxConfig, encoder: EncoderConfig) -> str | None:
    if isinstance(softmax, FullSoftmaxConfig) and isinstance(encoder.items, RowItemsConfig):
        return "encoder.items.kind rows trains only the rows that are used: objective.softmax.kind must be sampled"
    if isinstance(softmax, FullSoftmaxConfig) and encoder.content_parts():
        return (
            f"encoder.items.kind {encoder.items.kind} makes vectors of the items of a batch, not of the catalogue, in "
            "training: objective.softmax.kind must be sampled or in_batch"
        )
    if softmax.temperature is not None and not encoder.unit_items:
        return "objective.softmax.temperature divides cosines: it needs encoder.unit_items true"
    return None


class _Objective(Settings):
    """What an objective is asked by others. Most show all of a window and learn through the user vector."""

    def lookahead(self) -> int:
        """Items a window carries beyond what is shown."""
        return 0

    def hides_items(self) -> bool:
        """Whether items of a window are hidden from the encoder."""
        return False

    def ranks_items(self, encoder: EncoderConfig) -> bool:
        """Whether user vectors learn to score items."""
        return False

    def trains_readout(self) -> bool:
        """Whether it learns through the user vector, not from states alone."""
        return True

    def refusal(self, encoder: EncoderConfig) -> str | None:
        """Why it cannot train this encoder, if it cannot."""
        return None


ImpressionColumn = Literal["user_id", "item_id", "timestamp"]


class ImpressionsConfig(Settings):
    """A table of what users were shown: what they left is told from the item that they took next."""

    table: str | None = Field(
        None,
        min_length=1,
        description="file or folder of rows with user_id, item_id and timestamp: what was shown, taken or not; none: "
        "it is not known",
    )
    columns: dict[ImpressionColumn, str] = Field(
        {}, description='what the table calls them, e.g. {"user_id": "customer", "timestamp": "shown_at"}'
    )
    timestamp_unit: TimestampUnit = Field("s", description="unit of timestamps that are numbers")
    within_hours: float = Field(
        24.0, gt=0, description="an item competes with one that is taken at most so many hours after it was shown"
    )
    weight: float = Field(1.0, gt=0, description="factor on this part of the loss; the next item's is 1")


class AutoregressiveConfig(_Objective):
    """Predict each next item from what came before it."""

    kind: Literal["autoregressive"] = "autoregressive"
    softmax: SoftmaxConfig = Field(default_factory=FullSoftmaxConfig)
    horizon: int = Field(
        1,
        ge=1,
        description="interactions ahead of which each position predicts one, drawn anew each time: 1, the next; more, "
        "all that a user does for a while (the dense all-action loss of PinnerFormer)",
    )
    impressions: ImpressionsConfig = Field(default_factory=ImpressionsConfig)

    def lookahead(self) -> int:
        """Items a window carries beyond what is shown: the target of the newest."""
        return 1

    def ranks_items(self, encoder: EncoderConfig) -> bool:
        return encoder.readout in ("last", *WHOLE_HISTORY, *POOLED)

    def trains_readout(self) -> bool:
        return False

    def refusal(self, encoder: EncoderConfig) -> str | None:
        if reason := _softmax_refusal(self.softmax, encoder):
            return reason
        if not encoder.backbone.causal:
            return "objective.kind autoregressive needs encoder.backbone.causal: true"
        if self.horizon > 1 and self.impressions.table is not None:
            return "objective.impressions competed with the very next item: objective.horizon must be 1"
        if encoder.readout in ("cls", "mask"):
            return (
                f"objective.kind autoregressive never trains the token of encoder.readout {encoder.readout}: use last"
            )
        return None


class AutoencodingConfig(_Objective):
    """Predict hidden items of a window from the others."""

    kind: Literal["autoencoding"] = "autoencoding"
    softmax: SoftmaxConfig = Field(default_factory=FullSoftmaxConfig)
    mask_rate: float = Field(0.2, gt=0, lt=1, description="share of a window's items that are hidden, at least one")
    last_rate: float = Field(0.1, ge=0, le=1, description="share of windows of which only the last item is hidden")
    heads: tuple[FieldName, ...] = Field((), description="fields of hidden interactions that are predicted as well")
    head_weight: float = Field(0.1, gt=0, description="weight of each of those")
    missing_heads: Literal["refuse", "drop"] = Field("refuse", description="what becomes of fields the log lacks")
    predict_from: Literal["readout", "place"] = Field(
        "readout", description="what predicts a hidden item: the user vector (its place, for mask), or always its place"
    )
    crop: float = Field(1.0, gt=0, le=1, description="share of a window that is kept, a run from a random place")
    shuffle: float = Field(0.0, ge=0, le=1, description="share of that put into random order, a run of it")

    def hides_items(self) -> bool:
        return True

    def ranks_items(self, encoder: EncoderConfig) -> bool:
        is_scored_by_state = encoder.readout in POOLED and encoder.backbone.causal
        return encoder.readout == "mask" or (self.predict_from == "readout" and not is_scored_by_state)

    def trains_readout(self) -> bool:
        return self.predict_from == "readout"

    def refusal(self, encoder: EncoderConfig) -> str | None:
        if reason := _softmax_refusal(self.softmax, encoder):
            return reason
        if encoder.readout == "last":
            return "objective.kind autoencoding predicts from encoder.readout mask, cls or mean, not last"
        if "gap" in self.heads and "gap" in encoder.context:
            return "objective.heads gap would be predicted from encoder.context gap: drop one of them"
        if self.predict_from == "place" and encoder.readout == "cls" and not _looks_both_ways(encoder):
            return (
                "objective.predict_from place never trains the token of encoder.readout cls where nothing looks at it: "
                "use mean"
            )
        return None


def _looks_both_ways(encoder: EncoderConfig) -> bool:
    return not encoder.backbone.causal and not isinstance(encoder.backbone, MeanConfig)


class ContrastiveConfig(_Objective):
    """Tell two views of the same user from views of other users."""

    kind: Literal["contrastive"] = "contrastive"
    views: Literal["subsequences", "mask", "permute", "drop", "periods", "domains"] = Field(
        "subsequences",
        description="what the two views of a user are. subsequences: runs of the window; mask: some items "
        "hidden; permute: some "
        "reordered; drop: some left out; periods: its first and its second part; domains: what was done in two domains",
    )
    share: float = Field(
        0.6, gt=0, lt=1, description="share of a window that is kept, hidden, permuted, dropped, or its first part"
    )
    whole_first: bool = Field(False, description="the first view is the window as it is")
    temperature: float = Field(0.1, gt=0, description="cosines are divided by it: less tells near users apart more")
    num_negatives: int | None = Field(
        None, ge=1, description="users of the batch that serve as negatives; none: all of them"
    )
    negatives: Literal["random", "hard", "semi_hard"] = Field(
        "random",
        description="which num_negatives: random: drawn, the same for all; hard: the most similar to each "
        "user; semi_hard: the most "
        "similar that are less similar than the user's other view, where there are so many",
    )
    same_target: bool = Field(False, description="do not treat users with the same next item as negatives")
    reword: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the batches whose second view is the window with words dropped from its items' "
        "texts, in place of "
        "views; text.word_drop says how many",
    )

    @model_validator(mode="after")
    def _fields_agree(self) -> "ContrastiveConfig":
        if self.negatives != "random" and self.num_negatives is None:
            raise ValueError(f"objective.negatives {self.negatives} needs objective.num_negatives: how many")
        if self.whole_first and self.views in ("periods", "domains"):
            raise ValueError(f"objective.views {self.views} parts the window: objective.whole_first must be false")
        return self

    def hides_items(self) -> bool:
        return self.views == "mask"

    def lookahead(self) -> int:
        """Items a window carries beyond what is shown: the target, and the one that makes two periods of any window."""
        return int(self.same_target) + int(self.views == "periods")

    def refusal(self, encoder: EncoderConfig) -> str | None:
        if encoder.readout == "mask":
            return "objective.kind contrastive compares user vectors: encoder.readout must be last, mean or cls"
        blind = isinstance(encoder.backbone, MeanConfig) and (not encoder.backbone.causal or encoder.readout == "last")
        if self.reword and encoder.items.kind not in ("text", "whitened_moe"):
            return "objective.reword drops words from texts: encoder.items.kind must be text or whitened_moe"
        if self.views == "permute" and blind:
            return "objective.views permute does not change what encoder.backbone.kind mean sees: use another view"
        return None


class SocialConfig(_Objective):
    """Tell a friend from users of the batch to whom there is no tie; the log needs relations of users beside it."""

    kind: Literal["social"] = "social"
    kinds: tuple[str, ...] = Field((), description="kinds of relations that make friends; none named: all")
    temperature: float = Field(0.1, gt=0, description="cosines are divided by it: less tells near users apart more")
    profile: tuple[str, ...] | None = Field(
        None,
        description="columns of the log's table of users that are their profile; none: all that can be; []: no profile",
    )
    alike: float = Field(
        0.9, gt=0, le=1, description="users who share so much of the profile's columns are not told from each other"
    )

    def refusal(self, encoder: EncoderConfig) -> str | None:
        if encoder.readout == "mask":
            return "objective.kind social compares user vectors: encoder.readout must be max, mean, last or cls"
        return None


class HistoryConfig(_Objective):
    """Predict items of a window from the user vector of a part of them: what a vector is asked to hold."""

    kind: Literal["history"] = "history"
    predict: Literal["all", "future"] = Field(
        "all",
        description="all: every item of the window, from some of them; future: the items of its newer part, from the "
        "older part",
    )
    hide: float = Field(0.5, ge=0, lt=1, description="share of a window's items that the vector is made without")

    def lookahead(self) -> int:
        """Items a window carries beyond what is shown: the one that makes two parts of any window."""
        return int(self.predict == "future")

    def refusal(self, encoder: EncoderConfig) -> str | None:
        if encoder.readout in ("cls", "mask"):
            return (
                f"objective.kind history makes no token for encoder.readout {encoder.readout}: use mean, whole or bag"
            )
        return None


class ItemContrastConfig(_Objective):
    """Tell two views of an item, each without some of its columns, from other items; a part beside others."""

    kind: Literal["item_contrast"] = "item_contrast"
    masking: Literal["none", "random", "correlated"] = Field(
        "correlated",
        description="which half of the columns one view hides, and the other shows. random: any; correlated: one and "
        "those that tell most of it in the catalogue; none: nothing is hidden, items are only pushed apart",
    )
    alpha: float = Field(
        0.0, ge=0, le=1, description="items are drawn by training counts to this power: 0, all alike; 1, as in the log"
    )
    temperature: float = Field(0.1, gt=0, description="cosines are divided by it: less tells near items apart more")

    def trains_readout(self) -> bool:
        return False

    def refusal(self, encoder: EncoderConfig) -> str | None:
        items = encoder.feature_items()
        if items is None:
            return "objective.kind item_contrast compares items by their columns: encoder.items.kind must be features"
        if self.masking != "none" and len(items.columns) + len(items.numbers) < 2:
            return f"objective.masking {self.masking} parts the columns in two: encoder.items.columns must name more"
        return None


class ReconstructConfig(_Objective):
    """Predict the oracle vectors of warm users and items, which all that they did tells, from a few neighbours."""

    kind: Literal["reconstruct"] = "reconstruct"

    def refusal(self, encoder: EncoderConfig) -> str | None:
        if not isinstance(encoder.backbone, GNNConfig):
            return "objective.kind reconstruct reads neighbours in a graph: encoder.backbone.kind must be gnn"
        if encoder.readout not in ("last", "mean", "max"):
            return f"objective.kind reconstruct reads a window's user: encoder.readout {encoder.readout} must be last"
        return None


class NextFieldsConfig(_Objective):
    """Predict what the next interaction is like, from the user vector after each one."""

    kind: Literal["next_fields"] = "next_fields"
    fields: tuple[FieldName, ...] = Field(
        min_length=1,
        description="fields of the next interaction that are predicted, each a part of the loss: its category, price, "
        "event, or gap, the time to it",
    )

    def lookahead(self) -> int:
        """Items a window carries beyond what is shown: the one whose fields are predicted from the newest."""
        return 1

    def refusal(self, encoder: EncoderConfig) -> str | None:
        if not encoder.backbone.causal:
            return "objective.kind next_fields needs encoder.backbone.causal: true"
        if encoder.readout in ("cls", "mask"):
            return (
                f"objective.kind next_fields reads the user vector at every place, where encoder.readout "
                f"{encoder.readout} has no token: use last, mean, max or attention"
            )
        return _named_twice("objective.fields", self.fields)


class LabelsConfig(_Objective):
    """Predict labels of users from their vectors; labels of users whom a later transfer asks about are never read."""

    kind: Literal["labels"] = "labels"
    attributes: tuple[str, ...] = Field(
        (),
        description="columns of the log's table of users that are predicted, each a part of the loss; none named: all "
        "that can be; users with whom "
        "transfer.task, by its shares and seed, validates or tests are left out",
    )

    def refusal(self, encoder: EncoderConfig) -> str | None:
        if both := sorted({*self.attributes} & {*encoder.context}):
            return f"objective.attributes {both[0]} would be predicted from encoder.context {both[0]}: drop one of them"
        if both := sorted({*self.attributes} & {*encoder.profile}):
            return f"objective.attributes {both[0]} would be predicted from encoder.profile {both[0]}: drop one of them"
        if encoder.profile and not self.attributes:
            return (
                f"objective.attributes: none named are all, of which encoder.profile reads {encoder.profile[0]}: name "
                "those to predict"
            )
        return _named_twice("objective.attributes", self.attributes)


class MaskedBundlesConfig(_Objective):
    """Predict what hidden bundles and single interactions of a window hold, from the others."""

    kind: Literal["masked_bundles"] = "masked_bundles"
    columns: tuple[str, ...] = Field(
        ("category",),
        description="columns of the item table whose values are predicted, all of an item at once; text is its words",
    )
    fields: tuple[FieldName, ...] = Field(
        ("price", "hour"), description="fields of interactions that are predicted as well, as price, event or hour"
    )
    mask_rate: float = Field(
        0.15, gt=0, lt=1, description="share of a window's bundles, and of its single interactions, that are hidden"
    )

    def hides_items(self) -> bool:
        return True

    def trains_readout(self) -> bool:
        return False

    def refusal(self, encoder: EncoderConfig) -> str | None:
        if encoder.bundle == "none":
            return "objective.kind masked_bundles hides bundles, of which there are none: set encoder.bundle, as day"
        if not _looks_both_ways(encoder):
            return "objective.kind masked_bundles tells bundles from others, which encoder.backbone.kind mean mixes up"
        if told := next((name for name in self.fields if name in TIME_FIELDS and name != "hour"), None):
            return f"objective.fields {told} is told by when a bundle was: name hour, price, event or category"
        if not (self.columns or self.fields):
            return "objective.kind masked_bundles predicts objective.columns and objective.fields: name one"
        return _named_twice("objective.columns and objective.fields", (*self.columns, *self.fields))


def _named_twice(field: str, names: Sequence[str]) -> str | None:
    twice = next((name for name in names if names.count(name) > 1), None)
    return None if twice is None else f"{field} names {twice} twice"


SingleConfig = (
    AutoregressiveConfig
    | AutoencodingConfig
    | ContrastiveConfig
    | SocialConfig
    | HistoryConfig
    | NextFieldsConfig
    | LabelsConfig
    | ItemContrastConfig
    | MaskedBundlesConfig
    | ReconstructConfig
)


class PartConfig(Settings):
    """One objective of a weighted sum."""

    weight: float = Field(gt=0, description="factor on this objective's loss")
    objective: Annotated[SingleConfig, Field(discriminator="kind")] = Field(
        description="one of the kinds of objective, with its fields"
    )


class WeightedConfig(_Objective):
    """Several objectives over the same windows."""

    kind: Literal["weighted"] = "weighted"
    parts: list[PartConfig] = Field(min_length=2, description="the objectives, each with its weight")

    def lookahead(self) -> int:
        """Items a window carries beyond what is shown, as the most demanding part asks for."""
        return max(part.objective.lookahead() for part in self.parts)

    def hides_items(self) -> bool:
        return any(part.objective.hides_items() for part in self.parts)

    def ranks_items(self, encoder: EncoderConfig) -> bool:
        return any(part.objective.ranks_items(encoder) for part in self.parts)

    def trains_readout(self) -> bool:
        return any(part.objective.trains_readout() for part in self.parts)

    def refusal(self, encoder: EncoderConfig) -> str | None:
        reasons = [part.objective.refusal(encoder) for part in self.parts]
        return next((reason for reason in reasons if reason is not None), None)


ObjectiveConfig = Annotated[SingleConfig | WeightedConfig, Field(discriminator="kind")]
