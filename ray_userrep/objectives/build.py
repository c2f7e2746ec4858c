"""From an objective's config to the objective."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ray_userrep.corpus.hashing import hash_ids
from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.config import EncoderConfig
from ray_userrep.encoder.fields import FIELDS, FieldName, price_codes
from ray_userrep.errors import UserError
from ray_userrep.objectives.augment import masked, permuted, subsequence
from ray_userrep.objectives.autoencoding import Autoencoding, SideHead
from ray_userrep.objectives.autoregressive import Autoregressive
from ray_userrep.objectives.base import Objective
from ray_userrep.objectives.config import (
    AutoencodingConfig,
    AutoregressiveConfig,
    FullSoftmaxConfig,
    ObjectiveConfig,
    SampledSoftmaxConfig,
    SoftmaxConfig,
    WeightedConfig,
)
from ray_userrep.objectives.contrastive import Contrastive
from ray_userrep.objectives.sampled import BinaryCrossEntropy, SampledSoftmax, gbce_beta
from ray_userrep.objectives.samplers import InBatchSampler, MixedSampler, Sampler, by_counts, log_uniform
from ray_userrep.objectives.softmax import FullSoftmax, ItemSoftmax
from ray_userrep.objectives.weighted import Weighted

_VIEWS = {"subsequences": subsequence, "mask": masked, "permute": permuted}


class Data(NamedTuple):
    """What objectives want to know of the data: items, which side columns are stored, and training counts, `[V]`."""

    items: ItemTable
    side_columns: Sequence[str]
    train_counts: Callable[[], NDArray[np.int64]]


def build_objective(config: ObjectiveConfig, encoder: EncoderConfig, data: Data) -> Objective:
    """The objective with its heads; items are counted only where its negatives follow their counts.

    Raises:
        UserError: a head's field is not in the data.
    """
    match config:
        case WeightedConfig(parts=parts):
            objectives = [build_objective(part.objective, encoder, data) for part in parts]
            return Weighted(objectives, [part.weight for part in parts])
        case AutoregressiveConfig():
            return Autoregressive(build_softmax(config.softmax, data))
        case AutoencodingConfig():
            heads = [SideHead(name, encoder.width, _head_codes(name, data)) for name in config.heads]
            return Autoencoding(
                build_softmax(config.softmax, data),
                heads,
                encoder.readout,
                config.mask_rate,
                config.last_rate,
                config.head_weight,
            )
        case _:
            return Contrastive(
                _VIEWS[config.views], config.share, encoder.readout, config.temperature, config.num_negatives
            )


def build_softmax(config: SoftmaxConfig, data: Data) -> ItemSoftmax:
    """The item softmax."""
    if isinstance(config, FullSoftmaxConfig):
        return FullSoftmax()
    sampler = _sampler(config, data)
    if config.loss == "softmax":
        return SampledSoftmax(sampler, config.num_negatives)
    beta = 1.0
    if config.loss == "gbce":
        beta = gbce_beta(config.num_negatives, len(data.items), config.calibration)
    return BinaryCrossEntropy(sampler, config.num_negatives, beta)


def _sampler(config: SampledSoftmaxConfig, data: Data) -> Sampler:
    match config.sampler:
        case "log_uniform":
            return log_uniform(data.items.counts())
        case "counts":
            return by_counts(data.train_counts(), config.alpha)
        case "in_batch":
            return InBatchSampler(data.train_counts())
        case "mixed":
            counts_V = data.train_counts()
            return MixedSampler(InBatchSampler(counts_V), by_counts(counts_V, config.alpha))


def _head_codes(name: FieldName, data: Data) -> Tensor | None:
    """Each item's code, where the field is one of items; None where it is one of interactions."""
    if name in ("gap", "hour") or FIELDS[name].column in data.side_columns:
        return None
    categories, prices = data.items.categories(), data.items.prices()
    if name == "category" and categories is not None:
        first_V = np.zeros(len(data.items), np.int64)
        has_V = categories.value_lengths().fill_null(0).to_numpy() > 0
        starts_V = categories.offsets.to_numpy()[:-1] - categories.offsets[0].as_py()
        codes = (hash_ids(categories.flatten()).view(np.uint64) % np.uint64(FIELDS[name].size - 1)).astype(np.int64)
        first_V[has_V] = 1 + codes[starts_V[has_V]]
        return torch.from_numpy(first_V)
    if name == "price" and prices is not None:
        return price_codes(torch.from_numpy(prices.copy()))
    raise UserError(f"objective.heads {name}: neither the interactions nor the items of this log have it")
