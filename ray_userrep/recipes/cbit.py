"""Hidden items, and two hidings of a history with one user vector: inspired by CBiT (Du et al., CIKM 2022).

Two looks are compared, by the vector of a token at the end; the original compares more, place by place, and adapts the
weight of that loss while it trains.
"""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import EncoderConfig, TransformerConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.objective import AutoencodingConfig, ContrastiveConfig, PartConfig, WeightedConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig


def cbit() -> Recipe:
    """Two bidirectional layers; the contrast of two hidings at a tenth of the weight."""
    return Recipe(
        name="cbit",
        stream=StreamConfig(max_len=100, batch_tokens=4096),
        encoder=EncoderConfig(
            width=64,
            readout="cls",
            backbone=TransformerConfig(causal=False, positions="learned", ffn="gelu", norm="layer"),
        ),
        objective=WeightedConfig(
            parts=[
                PartConfig(weight=1.0, objective=AutoencodingConfig(mask_rate=0.2, last_rate=0.1)),
                PartConfig(weight=0.1, objective=ContrastiveConfig(views="mask", share=0.2)),
            ]
        ),
        train=TrainConfig(epochs=60, learning_rate=3e-3, patience=10),
        evaluation=EvaluationConfig(exclude_seen=True),
    )
