"""From a backbone's config to the backbone."""

from typing import assert_never

from ray_userrep.encoder.backbones.base import Backbone
from ray_userrep.encoder.backbones.cnn import DilatedCNN
from ray_userrep.encoder.backbones.gated_lstm import PropertyLSTM
from ray_userrep.encoder.backbones.gnn import GNN
from ray_userrep.encoder.backbones.gru import GRU
from ray_userrep.encoder.backbones.hstu import HSTU
from ray_userrep.encoder.backbones.mean import Mean
from ray_userrep.encoder.backbones.transformer import Transformer
from ray_userrep.recipe.encoder import (
    BackboneConfig,
    CNNConfig,
    GNNConfig,
    GRUConfig,
    HSTUConfig,
    LSTMConfig,
    MeanConfig,
    TransformerConfig,
)


def build_backbone(config: BackboneConfig, width: int, max_len: int) -> Backbone:
    """The backbone with its first weights, for windows of at most `max_len`."""
    match config:
        case HSTUConfig():
            return HSTU(config, width, max_len)
        case CNNConfig():
            return DilatedCNN(config, width)
        case GRUConfig():
            return GRU(config, width)
        case LSTMConfig():
            return PropertyLSTM(config, width)
        case GNNConfig():
            return GNN(config, width)
        case MeanConfig():
            return Mean(config, width)
        case TransformerConfig():
            return Transformer(config, width, max_len)
        case never:
            assert_never(never)
