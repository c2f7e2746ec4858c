"""UserBERT: hidden behaviour, and two periods of one user (Wu et al., 2021).

Both losses tell the truth from medium-hard negatives of the batch, of other items and other users. The original takes
the hardest of a pool, which trained nothing here from ids; these are the hardest of those that score below the truth.
The original's attention pooling is the mean here, and a period is a half of a window.
"""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import EncoderConfig, TransformerConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.objective import (
    AutoencodingConfig,
    ContrastiveConfig,
    InBatchSoftmaxConfig,
    PartConfig,
    WeightedConfig,
)
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig


def userbert() -> Recipe:
    """Two bidirectional layers; 64 of the batch's hidden items and 16 of its users are told apart."""
    hidden = AutoencodingConfig(softmax=InBatchSoftmaxConfig(num_hard=64, semi_hard=True), predict_from="place")
    periods = ContrastiveConfig(views="periods", share=0.5, num_negatives=16, negatives="semi_hard")
    return Recipe(
        name="userbert",
        stream=StreamConfig(max_len=100, batch_tokens=8192),
        encoder=EncoderConfig(
            width=64,
            backbone=TransformerConfig(causal=False, positions="learned", ffn="gelu", norm="layer"),
            readout="mean",
        ),
        objective=WeightedConfig(
            parts=[PartConfig(weight=1.0, objective=hidden), PartConfig(weight=1.0, objective=periods)]
        ),
        train=TrainConfig(epochs=60, learning_rate=1e-3, patience=10),
        evaluation=EvaluationConfig(exclude_seen=True),
    )
