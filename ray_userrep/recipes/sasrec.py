"""SASRec: a causal Transformer that predicts each next item (Kang & McAuley, ICDM 2018).

The original's binary loss with one negative is not kept: full cross-entropy over the catalogue is what makes SASRec
strong (Klenitskiy & Vasilev, RecSys 2023).
"""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import EncoderConfig, TransformerConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig


def sasrec() -> Recipe:
    """Two layers, windows of 200, items of the history not ranked again."""
    backbone = TransformerConfig(num_layers=2, num_heads=2, positions="learned", ffn="gelu", norm="layer", dropout=0.2)
    return Recipe(
        name="sasrec",
        stream=StreamConfig(max_len=200, batch_tokens=4096),
        encoder=EncoderConfig(width=64, backbone=backbone),
        train=TrainConfig(epochs=30, learning_rate=3e-3, patience=6),
        evaluation=EvaluationConfig(exclude_seen=True),
    )
