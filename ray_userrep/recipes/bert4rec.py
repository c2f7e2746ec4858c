"""BERT4Rec: a bidirectional Transformer that fills in hidden items (Sun et al., CIKM 2019).

The newest item is hidden more often than by chance alone, as that is what a next item asks for. Full cross-entropy, as
in the original.
"""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import EncoderConfig, TransformerConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.objective import AutoencodingConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig


def bert4rec() -> Recipe:
    """Two bidirectional layers; the user vector is the state of a hidden item put at the end."""
    backbone = TransformerConfig(causal=False, positions="learned", ffn="gelu", norm="layer")
    return Recipe(
        name="bert4rec",
        stream=StreamConfig(max_len=200, batch_tokens=4096),
        encoder=EncoderConfig(
            width=64,
            readout="mask",
            backbone=backbone,
        ),
        objective=AutoencodingConfig(mask_rate=0.2, last_rate=0.1),
        train=TrainConfig(epochs=100, learning_rate=3e-3, patience=10),
        evaluation=EvaluationConfig(exclude_seen=True),
    )
