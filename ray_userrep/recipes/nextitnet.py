"""NextItNet: dilated causal convolutions (Yuan et al., WSDM 2019)."""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import CNNConfig, EncoderConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.objective import AutoregressiveConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig


def nextitnet() -> Recipe:
    """Four residual blocks, full cross-entropy as in the original."""
    return Recipe(
        name="nextitnet",
        stream=StreamConfig(max_len=200, batch_tokens=4096),
        encoder=EncoderConfig(
            width=64,
            backbone=CNNConfig(),
        ),
        objective=AutoregressiveConfig(),
        train=TrainConfig(epochs=30, learning_rate=3e-3, patience=6),
        evaluation=EvaluationConfig(exclude_seen=True),
    )
