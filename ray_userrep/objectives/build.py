"""From an objective's config to the objective."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ray_userrep.corpus.correlation import correlations
from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.bundles import bundling_of
from ray_userrep.errors import UserError
from ray_userrep.feed.windows import DOMAIN_COLUMN
from ray_userrep.objectives.augment import dropped, masked, one_domain, one_period, permuted, subsequence
from ray_userrep.objectives.autoencoding import Autoencoding
from ray_userrep.objectives.autoregressive import Autoregressive
from ray_userrep.objectives.base import Objective
from ray_userrep.objectives.contrastive import Contrastive
from ray_userrep.objectives.history import History
from ray_userrep.objectives.impressions import Impressions, ShownItems
from ray_userrep.objectives.in_batch import Choice, InBatchSoftmax, hardest, semi_hard
from ray_userrep.objectives.item_contrast import ItemContrast
from ray_userrep.objectives.labels import KnownLabels, Labels
from ray_userrep.objectives.masked_bundles import MaskedBundles
from ray_userrep.objectives.next_fields import NextFields
from ray_userrep.objectives.reconstruct import Oracle, Reconstruct
from ray_userrep.objectives.sampled import (
    BinaryCrossEntropy,
    InBatchSampler,
    LogUniformSampler,
    MixedSampler,
    SampledSoftmax,
    Sampler,
    by_counts,
    gbce_beta,
)
from ray_userrep.objectives.set_head import SetHead, codes_of_column, codes_of_field
from ray_userrep.objectives.side_head import SideHead, field_codes, has_field
from ray_userrep.objectives.social import SocialContrast, Society
from ray_userrep.objectives.softmax import Cosine, FullSoftmax, ItemSoftmax
from ray_userrep.objectives.weighted import Weighted
from ray_userrep.recipe.encoder import EncoderConfig, FieldName
from ray_userrep.recipe.objective import (
    AutoencodingConfig,
    AutoregressiveConfig,
    ContrastiveConfig,
    FullSoftmaxConfig,
    HistoryConfig,
    ImpressionsConfig,
    InBatchSoftmaxConfig,
    ItemContrastConfig,
    LabelsConfig,
    MaskedBundlesConfig,
    NextFieldsConfig,
    ObjectiveConfig,
    ReconstructConfig,
    SampledSoftmaxConfig,
    SocialConfig,
    SoftmaxConfig,
    WeightedConfig,
)

_VIEWS = {
    "subsequences": subsequence,
    "mask": masked,
    "permute": permuted,
    "drop": dropped,
    "periods": one_period,
    "domains": one_domain,
}
_CHOICES: dict[str, Choice | None] = {"random": None, "hard": hardest, "semi_hard": semi_hard}
_HOUR_US = 3_600_000_000
_LACKING = "neither the interactions nor the items of this log have it"


def _no_labels(names: Sequence[str]) -> dict[str, KnownLabels]:
    raise UserError("objective.kind labels is for pretraining: leave it out here, or take transfer.task.kind attribute")


def _no_society(_: SocialConfig) -> Society:
    raise UserError(
        "objective.kind social is for pretraining: transfer with another objective, as objective.kind autoencoding"
    )


def _no_impressions(_: ImpressionsConfig) -> Impressions:
    raise UserError("objective.impressions is not read here: leave objective.impressions.table out")


def _no_oracle() -> Oracle:
    raise UserError(
        "objective.kind reconstruct is for pretraining: transfer with another objective, as objective.kind "
        "autoregressive"
    )


class ObjectiveData(NamedTuple):
    """What objectives want to know of the data: items, stored side columns, training counts, `[V]`, and of users."""

    items: ItemTable
    side_columns: Sequence[str]
    train_counts: Callable[[], NDArray[np.int64]]
    labels: Callable[[Sequence[str]], dict[str, KnownLabels]] = _no_labels
    society: Callable[[SocialConfig], Society] = _no_society
    impressions: Callable[[ImpressionsConfig], Impressions] = _no_impressions
    oracle: Callable[[], Oracle] = _no_oracle


def build_objective(config: ObjectiveConfig, encoder: EncoderConfig, data: ObjectiveData) -> Objective:
    """The objective with its heads; items are counted only where its negatives follow their counts.

    Raises:
        UserError: a head's field, labels, or domains to compare, are not in the data.
    """
    match config:
        case WeightedConfig(parts=parts):
            objectives = [build_objective(part.objective, encoder, data) for part in parts]
            return Weighted(objectives, [part.weight for part in parts])
        case AutoregressiveConfig():
            return _autoregressive(config, data)
        case AutoencodingConfig():
            return _autoencoding(config, encoder, data)
        case ContrastiveConfig():
            return _contrastive(config, encoder, data)
        case SocialConfig(temperature=temperature, alike=alike):
            return SocialContrast(data.society(config), encoder.readout, temperature, alike)
        case HistoryConfig(predict=predict, hide=hide):
            width = encoder.bag_width if encoder.readout == "bag" else encoder.width
            return History(len(data.items), width, predict, hide)
        case ItemContrastConfig(alpha=alpha, temperature=temperature):
            counts_V = data.train_counts() if alpha else data.items.counts()  # any will do where all are drawn alike
            return ItemContrast(by_counts(counts_V, alpha), temperature, _affinity(config, encoder, data))
        case NextFieldsConfig():
            return _next_fields(config, encoder, data)
        case MaskedBundlesConfig():
            return _masked_bundles(config, encoder, data)
        case ReconstructConfig():
            return Reconstruct(data.oracle())
        case LabelsConfig(attributes=attributes):
            return Labels(data.labels(attributes), encoder.width)
        case never:
            assert_never(never)


def _autoregressive(config: AutoregressiveConfig, data: ObjectiveData) -> Autoregressive:
    asked, softmax = config.impressions, build_softmax(config.softmax, data)
    if asked.table is None:
        return Autoregressive(softmax, config.horizon)
    shown = ShownItems(data.impressions(asked), round(asked.within_hours * _HOUR_US))
    return Autoregressive(softmax, config.horizon, shown, asked.weight)


def _affinity(config: ItemContrastConfig, encoder: EncoderConfig, data: ObjectiveData) -> Tensor | None:
    """Which columns are hidden together: those most alike, or any; None where none is hidden, `[F, F]`."""
    items = encoder.feature_items()
    assert items is not None, "refused where there is none"
    if config.masking == "none":
        return None
    if config.masking == "random":
        num_columns = len(items.columns) + len(items.numbers)
        return torch.zeros(num_columns, num_columns, dtype=torch.float64)
    return torch.from_numpy(correlations(data.items.features(items.columns, items.numbers, items.num_buckets)))


def _autoencoding(config: AutoencodingConfig, encoder: EncoderConfig, data: ObjectiveData) -> Autoencoding:
    missing = _missing(config.heads, data)
    if missing and config.missing_heads == "refuse":
        raise UserError(f"objective.heads {missing[0]}: {_LACKING}")
    kept = [name for name in config.heads if name not in missing]
    return Autoencoding(
        build_softmax(config.softmax, data),
        _heads(kept, encoder, data),
        encoder.readout,
        config.mask_rate,
        config.last_rate,
        config.head_weight,
        at_place=config.predict_from == "place",
        crop=config.crop,
        shuffle=config.shuffle,
        dropped_heads=missing,
    )


def _next_fields(config: NextFieldsConfig, encoder: EncoderConfig, data: ObjectiveData) -> NextFields:
    if missing := _missing(config.fields, data):
        raise UserError(f"objective.fields {missing[0]}: {_LACKING}")
    return NextFields(_heads(config.fields, encoder, data))


def _masked_bundles(config: MaskedBundlesConfig, encoder: EncoderConfig, data: ObjectiveData) -> MaskedBundles:
    if missing := _missing(config.fields, data):
        raise UserError(f"objective.fields {missing[0]}: {_LACKING}")
    bundling = bundling_of(encoder)
    assert bundling is not None, "refused where there is none"
    asked = [codes_of_column(name, data.items) for name in config.columns]
    asked += [codes_of_field(field_codes(name, data.items, data.side_columns)) for name in config.fields]
    heads = [SetHead(codes, encoder.width) for codes in asked]
    return MaskedBundles(bundling, heads, encoder.profile, encoder.width, config.mask_rate)


def _heads(names: Sequence[FieldName], encoder: EncoderConfig, data: ObjectiveData) -> list[SideHead]:
    return [SideHead(field_codes(name, data.items, data.side_columns), encoder.width) for name in names]


def _missing(names: Sequence[FieldName], data: ObjectiveData) -> list[FieldName]:
    return [name for name in names if not has_field(name, data.items, data.side_columns)]


def _contrastive(config: ContrastiveConfig, encoder: EncoderConfig, data: ObjectiveData) -> Contrastive:
    if config.views == "domains" and DOMAIN_COLUMN not in data.side_columns:
        raise UserError("objective.views domains: the interactions of this log have no domain; name it in logs.columns")
    if config.reword and data.items.reworded_vectors() is None:
        raise UserError("objective.reword: the texts have no second vectors: set text.word_drop above 0")
    return Contrastive(
        _VIEWS[config.views],
        config.share,
        encoder.readout,
        config.temperature,
        config.num_negatives,
        _CHOICES[config.negatives],
        whole_first=config.whole_first,
        same_target=config.same_target,
        reword=config.reword,
        num_items=len(data.items),
        side_columns=(DOMAIN_COLUMN,) if config.views == "domains" else (),
        lookahead=config.lookahead(),
    )


def build_softmax(config: SoftmaxConfig, data: ObjectiveData) -> ItemSoftmax:
    """The item softmax, over cosines where it has a temperature."""
    softmax = _plain_softmax(config, data)
    return softmax if config.temperature is None else Cosine(softmax, config.temperature)


def _plain_softmax(config: SoftmaxConfig, data: ObjectiveData) -> ItemSoftmax:
    match config:
        case FullSoftmaxConfig():
            return FullSoftmax()
        case InBatchSoftmaxConfig(num_hard=num_hard):
            return InBatchSoftmax(num_hard, semi_hard if config.semi_hard else hardest)
        case SampledSoftmaxConfig():
            return _sampled(config, data)
        case never:
            assert_never(never)


def _sampled(config: SampledSoftmaxConfig, data: ObjectiveData) -> ItemSoftmax:
    sampler, num_negatives = _sampler(config, data), config.num_negatives
    match config.loss:
        case "softmax":
            return SampledSoftmax(sampler, num_negatives)
        case "bce":
            return BinaryCrossEntropy(sampler, num_negatives, 1.0)
        case "gbce":
            beta = gbce_beta(num_negatives, len(data.items), config.calibration)
            return BinaryCrossEntropy(sampler, num_negatives, beta)
        case never:
            assert_never(never)


def _sampler(config: SampledSoftmaxConfig, data: ObjectiveData) -> Sampler:
    match config.sampler:
        case "log_uniform":
            return LogUniformSampler(data.items.counts())
        case "counts":
            return by_counts(data.train_counts(), config.alpha)
        case "in_batch":
            return InBatchSampler(data.train_counts())
        case "mixed":
            counts_V = data.train_counts()
            return MixedSampler(InBatchSampler(counts_V), by_counts(counts_V, config.alpha))
        case never:
            assert_never(never)
