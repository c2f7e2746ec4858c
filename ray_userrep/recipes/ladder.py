"""What a scaling study trains by default: one pass, in which no interaction comes twice, needs no dropout.

The sizes of the ladder take the place of width and depth; the learning rates are those of the width and batch here.
"""

from ray_userrep.recipe.corpus import ColdUserConfig, StreamConfig
from ray_userrep.recipe.encoder import EncoderConfig, TransformerConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig


def ladder() -> Recipe:
    """A causal Transformer with the full softmax, windows of 64, users held out whole."""
    return Recipe(
        name="ladder",
        split=ColdUserConfig(),
        stream=StreamConfig(max_len=64, batch_tokens=512),
        encoder=EncoderConfig(width=64, dropout=0.0, backbone=TransformerConfig(dropout=0.0)),
        train=TrainConfig(epochs=1, learning_rate=8e-3, item_learning_rate=2e-2),
    )
