"""Universal: one encoder whose user vector describes a whole history and whose states rank the next item.

Two parts learn from the same windows in one pass. The user vector is a bag (encoder/bag.py) that learns in 512 numbers
to say which items a history holds from a half of them, and keeps 120; eight more numbers say when and how often the
user came (encoder/tempo.py). The next item is predicted by SASRec's Transformer. They share no weights: next-item
states describe users worse than a bag does, and a bag does not know what comes next.
"""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import EncoderConfig, TransformerConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.objective import AutoregressiveConfig, HistoryConfig, PartConfig, WeightedConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig
from ray_userrep.recipe.transfer import TransferConfig


def universal() -> Recipe:
    """SASRec's layers for the next item, and a user vector of 128 numbers over all of a history."""
    backbone = TransformerConfig(num_layers=2, num_heads=2, positions="learned", ffn="gelu", norm="layer", dropout=0.2)
    parts = [
        PartConfig(weight=1.0, objective=AutoregressiveConfig()),
        PartConfig(weight=1.0, objective=HistoryConfig(hide=0.5)),
    ]
    return Recipe(
        name="universal",
        stream=StreamConfig(max_len=200, batch_tokens=4096),
        encoder=EncoderConfig(width=64, backbone=backbone, bag_width=512, bag_kept=120, tempo=True, readout="bag"),
        objective=WeightedConfig(parts=parts),
        train=TrainConfig(epochs=30, learning_rate=3e-3, patience=6),
        evaluation=EvaluationConfig(exclude_seen=True),
        transfer=TransferConfig(arms=("head_only", "frozen_mlp"), readouts=("own",)),
    )
