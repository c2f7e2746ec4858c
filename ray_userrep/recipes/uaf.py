"""UAF: a dilated CNN whose blocks each user takes frozen or fine-tuned (Chen et al., TKDE 2021).

All three forms of the policy are here: hard, soft, and learned from rewards. Beside the original, the item vectors have
two copies as well, so that a policy of ones is full fine-tuning.
"""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import CNNConfig, EncoderConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.objective import AutoregressiveConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig
from ray_userrep.recipe.transfer import TransferConfig


def uaf() -> Recipe:
    """Four blocks; policies that learn beside one that is drawn, and beside all of the encoder or none of it."""
    return Recipe(
        name="uaf",
        stream=StreamConfig(max_len=100, batch_tokens=4096),
        encoder=EncoderConfig(width=64, backbone=CNNConfig(num_blocks=4, dilations=(1, 4))),
        objective=AutoregressiveConfig(),
        train=TrainConfig(epochs=30, learning_rate=3e-3, patience=6),
        evaluation=EvaluationConfig(exclude_seen=True),
        transfer=TransferConfig(
            arms=("scratch", "head_only", "full", "uaf_random", "uaf_hard", "uaf_soft", "uaf_rewards"),
            learning_rates=(3e-4, 3e-3),
        ),
    )
