"""CL4SRec: next items, and two looks at a history that should give one user vector (Xie et al., ICDE 2022)."""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import EncoderConfig, TransformerConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.objective import AutoregressiveConfig, ContrastiveConfig, PartConfig, WeightedConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig


def cl4srec() -> Recipe:
    """SASRec with the contrast of cropped histories at a tenth of the weight."""
    return Recipe(
        name="cl4srec",
        stream=StreamConfig(max_len=200, batch_tokens=4096),
        encoder=EncoderConfig(
            width=64,
            backbone=TransformerConfig(positions="learned", ffn="gelu", norm="layer"),
        ),
        objective=WeightedConfig(
            parts=[
                PartConfig(weight=1.0, objective=AutoregressiveConfig()),
                PartConfig(weight=0.1, objective=ContrastiveConfig(share=0.6)),
            ]
        ),
        train=TrainConfig(epochs=30, learning_rate=3e-3, patience=6),
        evaluation=EvaluationConfig(exclude_seen=True),
    )
