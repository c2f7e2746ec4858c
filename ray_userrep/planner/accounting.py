"""What a run costs, worked out from its configs: parameters by kind, and the FLOPs of a micro-batch.

A FLOP count is that of the matrix products, two a multiply-add, forward and backward; sums, norms, lookups, dropout and
the optimiser are left out, as is usual and as `torch.utils.flop_counter` does. Attention is counted over the full
square of each window: that is what HSTU computes, and what the fused kernels are rated by, though a causal one skips up
to half of it. Padding within a group of windows (an eighth at most) is not counted.

Shapes: B windows of a micro-batch.
"""

from collections.abc import Sequence
from typing import NamedTuple, assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ray_userrep.encoder.backbones.build import build_backbone
from ray_userrep.encoder.backbones.gnn import META, META_BLOCKS, POLICY_WIDTH
from ray_userrep.encoder.backbones.transformer import SwiGLU
from ray_userrep.encoder.fields import FIELDS
from ray_userrep.encoder.profile import PROFILE_SIZE
from ray_userrep.encoder.readout import APPENDED
from ray_userrep.encoder.user_encoder import UserEncoder
from ray_userrep.objectives.base import Objective
from ray_userrep.objectives.set_head import COLUMN_SIZE
from ray_userrep.recipe.encoder import (
    BackboneConfig,
    ByModalityItemsConfig,
    CNNConfig,
    EncoderConfig,
    FeatureItemsConfig,
    GNNConfig,
    GRUConfig,
    HashedItemsConfig,
    HSTUConfig,
    IdItemsConfig,
    ImageItemsConfig,
    LanguageItemsConfig,
    LSTMConfig,
    MeanConfig,
    ProjectedItemsConfig,
    RowItemsConfig,
    SideItemsConfig,
    SingleItemsConfig,
    TextItemsConfig,
    TransformerConfig,
    WhitenedMoEItemsConfig,
    WordItemsConfig,
)
from ray_userrep.recipe.objective import (
    AutoencodingConfig,
    AutoregressiveConfig,
    ContrastiveConfig,
    FullSoftmaxConfig,
    HistoryConfig,
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

Lengths = NDArray[np.int64]
_TRAINED = 3  # a product forward, and one backward for each of its factors
_FUSED_BACKWARD = 5  # products of fused attention's backward pass: scores once more, and four gradients


class Catalogue(NamedTuple):
    """What item embedders cost depends on."""

    num_items: int
    text_width: int = 0


class Cost(NamedTuple):
    """FLOPs of one micro-batch, and the interactions that it is the first to train on."""

    items: float
    backbone: float
    objective: float
    interactions: int

    @property
    def total(self) -> float:
        """All FLOPs."""
        return self.items + self.backbone + self.objective

    @property
    def per_interaction(self) -> float:
        """FLOPs over interactions: times D it is the compute C of a run."""
        return self.total / max(1, self.interactions)


def parameters_by_kind(encoder: UserEncoder, objective: Objective | None = None) -> dict[str, int]:
    """Numbers of parameters: embedding, backbone, and the heads that only training needs."""
    head = 0 if objective is None else sum(weight.numel() for weight in objective.parameters())
    return encoder.parameters_by_kind() | {"head": head}


def backbone_parameters(config: BackboneConfig, width: int, max_len: int) -> int:
    """Parameters of a backbone, without making it."""
    with torch.device("meta"):
        backbone: nn.Module = build_backbone(config, width, max_len)
    return sum(weight.numel() for weight in backbone.parameters())


def training_cost(
    encoder: EncoderConfig, objective: ObjectiveConfig, catalogue: Catalogue, lengths: Sequence[int] | Lengths
) -> Cost:
    """The cost of one micro-batch of windows of these lengths, as the stream gives them, on one worker.

    What autoencoding hides is drawn: it is counted at its mean. Heads over labels of users are left out: how many
    classes there are is not known here, and users are few beside interactions.
    """
    lengths_B = np.asarray(lengths, np.int64)
    lookahead = objective.lookahead()
    items, backbone, own = _objective(encoder, objective, catalogue, lengths_B, lookahead)
    return Cost(items, backbone, own, int((lengths_B - lookahead).clip(min=0).sum()))


def _objective(
    encoder: EncoderConfig, objective: ObjectiveConfig, catalogue: Catalogue, lengths_B: Lengths, lookahead: int
) -> tuple[float, float, float]:
    """FLOPs of item embedder, backbone and objective."""
    match objective:
        case WeightedConfig(parts=parts):
            costs = [_objective(encoder, part.objective, catalogue, lengths_B, lookahead) for part in parts]
            items, backbone, own = np.sum(costs, axis=0)
            return float(items), float(backbone), float(own)
        case AutoregressiveConfig(softmax=softmax):
            shown_B = lengths_B - 1
            targets = float(shown_B.sum())
            views, heads = [shown_B], 0.0
        case AutoencodingConfig(softmax=softmax):
            seen_B = _share(_newest(lengths_B, lookahead), objective.crop)
            targets = float(_expected_hidden(objective, seen_B).sum())
            views = [seen_B + (encoder.readout == "cls")]
            heads = 2 * _TRAINED * targets * encoder.width * sum(FIELDS[name].size for name in objective.heads)
        case ContrastiveConfig():
            seen_B = _newest(lengths_B, lookahead - objective.lookahead()) - objective.same_target
            return _contrastive(encoder, objective, catalogue, seen_B)
        case SocialConfig():
            return _social(encoder, catalogue, _newest(lengths_B, lookahead))
        case ItemContrastConfig():
            drawn, part = float(_newest(lengths_B, lookahead).sum()), encoder.feature_items()
            assert part is not None, "refused where there is none"
            towers = 2 * 2 * drawn * _products_of_item(part, catalogue.text_width, encoder.width)
            return towers, 0.0, 2 * _TRAINED * drawn**2 * encoder.width
        case HistoryConfig(hide=hide):
            seen_B = _newest(lengths_B, lookahead - objective.lookahead())
            return _history(encoder, hide, catalogue, seen_B)
        case NextFieldsConfig(fields=fields):
            shown_B = lengths_B - 1
            rows = float(shown_B.sum())
            heads = 2 * _TRAINED * rows * encoder.width * sum(FIELDS[name].size for name in fields)
            return _items(encoder, catalogue, rows), _read(encoder, shown_B), heads
        case MaskedBundlesConfig(columns=columns, fields=fields):
            shown_B = _newest(lengths_B, lookahead)
            codes = COLUMN_SIZE * len(columns) + sum(FIELDS[name].size for name in fields)
            hidden = float(_expected_hidden_rows(objective, shown_B).sum())
            profile = len(lengths_B) * PROFILE_SIZE * len(encoder.profile)
            heads = 2 * _TRAINED * encoder.width * (hidden * codes + profile)
            rows = _items(encoder, catalogue, float(shown_B.sum()))
            return rows, _rows(encoder, shown_B), heads
        case ReconstructConfig():
            shown_B, config = _newest(lengths_B, lookahead), encoder.backbone
            assert isinstance(config, GNNConfig), "refused where it is none"
            rows = _items(encoder, catalogue, float(shown_B.sum()))
            return rows, _read(encoder, shown_B), _gnn_items(config, encoder.width, len(shown_B))
        case LabelsConfig():
            shown_B = _newest(lengths_B, lookahead) + (encoder.readout in APPENDED)
            return _items(encoder, catalogue, float(shown_B.sum())), _read(encoder, shown_B), 0.0
        case never:
            assert_never(never)
    rows = sum(float(view.sum()) for view in views)
    backbone = sum(_rows(encoder, view) for view in views)
    looked_up, scores = _softmax(softmax, encoder.width, catalogue, targets)
    return _items(encoder, catalogue, rows) + _items(encoder, catalogue, looked_up), backbone, scores + heads


def _history(encoder: EncoderConfig, hide: float, catalogue: Catalogue, seen_B: Lengths) -> tuple[float, float, float]:
    kept_B = np.maximum(1, np.rint(seen_B * (1 - hide)).astype(np.int64))
    width = encoder.bag_width if encoder.readout == "bag" else encoder.width
    scores = 2 * _TRAINED * float(len(seen_B)) * catalogue.num_items * (width + 1)
    if encoder.readout == "bag":
        return 0.0, 0.0, scores
    return _items(encoder, catalogue, float(kept_B.sum())), _read(encoder, kept_B), scores


def _contrastive(
    encoder: EncoderConfig, objective: ContrastiveConfig, catalogue: Catalogue, lengths_B: Lengths
) -> tuple[float, float, float]:
    looks = [_look(objective, lengths_B, number) + (encoder.readout in APPENDED) for number in (0, 1)]
    backbone = sum(_read(encoder, look_B) for look_B in looks)
    scores = 2 * (2 * _TRAINED * float(len(lengths_B)) ** 2 * encoder.width)
    return sum(_items(encoder, catalogue, float(look_B.sum())) for look_B in looks), backbone, scores


def _social(encoder: EncoderConfig, catalogue: Catalogue, lengths_B: Lengths) -> tuple[float, float, float]:
    """Every window beside that of a friend, as if everybody had one, of the same length."""
    shown_B = np.tile(lengths_B + (encoder.readout in APPENDED), 2)
    scores = 2 * _TRAINED * float(len(lengths_B)) ** 2 * encoder.width
    rows = _items(encoder, catalogue, float(shown_B.sum()))
    return rows, _rows(encoder, shown_B), scores


def _look(objective: ContrastiveConfig, lengths_B: Lengths, number: int) -> Lengths:
    """Lengths of one of the two looks; what is dropped, and what is of one domain, is drawn: at its mean, and half."""
    if number == 0 and objective.whole_first:
        return lengths_B
    match objective.views:
        case "subsequences":
            return _share(lengths_B, objective.share)
        case "periods":
            first_B = np.minimum(_share(lengths_B, objective.share), lengths_B - 1)
            return lengths_B - first_B if number else first_B
        case "drop":
            return np.maximum(1, np.rint(lengths_B * (1 - objective.share)).astype(np.int64))
        case "domains":
            return np.maximum(1, lengths_B // 2)
        case "mask" | "permute":
            return lengths_B
        case never:
            assert_never(never)


def _share(lengths_B: Lengths, share: float) -> Lengths:
    """A share of each window, at least one item; in single precision, as windows are cut."""
    shares_B = torch.from_numpy(lengths_B).to(torch.int32) * share
    return shares_B.round().long().clamp(min=1).numpy()


def _expected_hidden(objective: AutoencodingConfig, lengths_B: Lengths) -> NDArray[np.float64]:
    """How many items of each window are hidden on average: at least one, and only the last of some windows."""
    rate, last = objective.mask_rate, objective.last_rate
    expected_B: NDArray[np.float64] = (1 - last) * (rate * lengths_B + (1 - rate) ** lengths_B) + last
    return expected_B


def _expected_hidden_rows(objective: MaskedBundlesConfig, lengths_B: Lengths) -> NDArray[np.float64]:
    """How many rows of each window are hidden on average, if all are single: at least one, and never all."""
    rate = objective.mask_rate
    expected_B: NDArray[np.float64] = rate * lengths_B + (1 - rate) ** lengths_B - rate**lengths_B
    return np.where(lengths_B > 1, expected_B, 0.0)


def _softmax(softmax: SoftmaxConfig, width: int, catalogue: Catalogue, targets: float) -> tuple[float, float]:
    """How many item vectors are made for the scores, and the FLOPs of the scores."""
    match softmax:
        case FullSoftmaxConfig():
            return catalogue.num_items, 2 * _TRAINED * targets * catalogue.num_items * width
        case InBatchSoftmaxConfig():
            return targets, 2 * _TRAINED * targets**2 * width
        case SampledSoftmaxConfig(num_negatives=num_negatives):
            return targets + num_negatives, 2 * _TRAINED * targets * num_negatives * width
        case never:
            assert_never(never)


def _items(encoder: EncoderConfig, catalogue: Catalogue, rows: float) -> float:
    """FLOPs of making so many item vectors; only texts, columns and projected tables take any.

    What goes over words, texts and pictures is left out: how long texts are, and how often a batch repeats an item, is
    not known here. So are items that a graph network looks up around those of windows: it is meant for trained vectors,
    which are free.
    """
    products = (_products_of_item(part, catalogue.text_width, encoder.width) for part in encoder.item_parts())
    return 2 * rows * sum(products)


def _products_of_item(part: SingleItemsConfig, text_width: int, width: int) -> float:
    """Multiply-adds of one item's vector, forward and backward."""
    match part:
        case TextItemsConfig(hidden=hidden):
            return _TRAINED * (text_width * (width + hidden) + hidden * width)
        case WhitenedMoEItemsConfig(num_experts=num_experts):
            # Experts and gates read frozen vectors: their weights alone have gradients.
            return num_experts * text_width * (_TRAINED - 1) * (width + 2)
        case ProjectedItemsConfig(table_width=table_width):
            return _TRAINED * table_width * width
        case FeatureItemsConfig(hidden=hidden):
            num_columns = len(part.columns) + len(part.numbers)
            return _TRAINED * hidden * (num_columns * part.feature_width + width)
        case IdItemsConfig() | WordItemsConfig() | SideItemsConfig() | HashedItemsConfig() | RowItemsConfig():
            return 0
        case ImageItemsConfig() | LanguageItemsConfig() | ByModalityItemsConfig():
            return 0
        case never:
            assert_never(never)


def _backbone(config: BackboneConfig, width: int, lengths_B: Lengths) -> float:
    """FLOPs over windows of these lengths."""
    tokens, square = float(lengths_B.sum()), float((lengths_B**2).sum())
    linear = 2 * _TRAINED * tokens * width**2
    match config:
        case TransformerConfig():
            fused = 2 * (2 + _FUSED_BACKWARD) * square * width
            return config.num_layers * (linear * _transformer_maps(config, width) + fused)
        case HSTUConfig():
            return config.num_layers * (linear * 5 + 2 * 2 * _TRAINED * square * width)
        case CNNConfig():
            return config.num_blocks * linear * 6
        case GRUConfig():
            # The state before a window's first item is zero and has no gradient.
            first = 2 * 3 * float((lengths_B > 0).sum()) * width**2
            return config.num_layers * (linear * 7 - first)
        case LSTMConfig(hidden=hidden, context=context):
            hidden, first = hidden or width, 2 * 4 * float((lengths_B > 0).sum())
            maps = (5 + 3 * (context == "gates")) * width * hidden + 4 * hidden**2
            return config.num_layers * (2 * _TRAINED * tokens * maps - first * hidden**2)
        case MeanConfig():
            return config.num_layers * linear * 8  # the mean's two maps to and from four widths
        case GNNConfig():
            return _gnn(config, width, lengths_B)
        case never:
            assert_never(never)


def _gnn(config: GNNConfig, width: int, lengths_B: Lengths) -> float:
    """FLOPs of a graph network over windows of these lengths: a hop of their items, and two of users."""
    tokens, longest = float(lengths_B.sum()), int(lengths_B.max(initial=1))
    policy = 0.0
    if config.sampler == "learned":
        # What the policy reads has no gradient.
        choices = tokens * config.num_neighbours * POLICY_WIDTH * ((_TRAINED - 1) * 3 * width + _TRAINED)
        policy = 2 * (choices + (_TRAINED - 1) * len(lengths_B) * width)
    return policy + _hop(config, width, tokens, config.num_neighbours) + 2 * _hop(config, width, tokens, longest)


def _gnn_items(config: GNNConfig, width: int, num_items: int) -> float:
    """FLOPs of a graph network over items that are told by their users."""
    hops = 2 * _hop(config, width, num_items, config.num_neighbours)
    return hops + _hop(config, width, num_items * config.num_neighbours, config.num_neighbours)


def _hop(config: GNNConfig, width: int, nodes: float, neighbours: int) -> float:
    """FLOPs of a hop from so many nodes to as many neighbours of each."""
    maps = 2 if config.layer == "sage" else 1 + neighbours + config.meta_aggregator
    hop = 2 * _TRAINED * nodes * maps * width**2
    if not config.meta_aggregator:
        return hop
    fused = 2 * (2 + _FUSED_BACKWARD) * nodes * neighbours**2 * width
    linear = 2 * _TRAINED * nodes * neighbours * width**2
    return hop + META_BLOCKS * (linear * _transformer_maps(META, width) + fused)


def _rows(encoder: EncoderConfig, lengths_B: Lengths) -> float:
    """FLOPs of the backbone over windows of so many interactions, behind the rows of a profile."""
    return _backbone(encoder.backbone, encoder.width, lengths_B + len(encoder.profile))


def _read(encoder: EncoderConfig, lengths_B: Lengths) -> float:
    """FLOPs of the backbone and of reading user vectors out of its states."""
    keys = 2 * _TRAINED * float(lengths_B.sum()) * encoder.width**2 if encoder.readout == "attention" else 0.0
    return _rows(encoder, lengths_B) + keys


def _transformer_maps(config: TransformerConfig, width: int) -> float:
    """Weights of a layer's maps over width²."""
    if config.ffn == "swiglu":
        with torch.device("meta"):
            hidden = SwiGLU(width, config.ffn_mult).down.in_features
        ffn = 3 * hidden / width
    else:
        ffn = 2 * round(width * config.ffn_mult) / width
    return 4 + ffn + 2 * config.gated


def _newest(lengths_B: Lengths, lookahead: int) -> Lengths:
    """Lengths without the items that only another objective's lookahead needs; one item always stays."""
    return np.where(lengths_B > 0, np.maximum(1, lengths_B - lookahead), 0)
