"""GRec: dilated convolutions that see both sides fill in hidden items (Yuan et al., WWW 2020).

Of its encoder and decoder only the encoder is kept: it fills the gaps by itself.
"""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import CNNConfig, EncoderConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.objective import AutoencodingConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig


def grec() -> Recipe:
    """Four centred residual blocks; three tenths of the items are hidden."""
    return Recipe(
        name="grec",
        stream=StreamConfig(max_len=200, batch_tokens=4096),
        encoder=EncoderConfig(
            width=64,
            readout="mask",
            backbone=CNNConfig(causal=False),
        ),
        objective=AutoencodingConfig(mask_rate=0.3, last_rate=0.1),
        train=TrainConfig(epochs=100, learning_rate=3e-3, patience=10),
        evaluation=EvaluationConfig(exclude_seen=True),
    )
