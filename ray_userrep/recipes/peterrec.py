"""PeterRec: a dilated CNN pretrained on next items, adapted by patches (Yuan et al., SIGIR 2020).

Blocks are pre-activated here (norm, ReLU, convolution); the original's are convolution, norm, ReLU. A task's
loss is the softmax over its classes, where the original samples one wrong label.
"""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import CNNConfig, EncoderConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.objective import AutoregressiveConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig
from ray_userrep.recipe.transfer import TransferConfig


def peterrec() -> Recipe:
    """Causal, eight convolutions of dilation 1 to 8; every arm that the paper compares, and LoRA."""
    return Recipe(
        name="peterrec",
        stream=StreamConfig(max_len=100, batch_tokens=4096),
        encoder=EncoderConfig(
            width=64,
            backbone=CNNConfig(num_blocks=4, dilations=(1, 4)),
        ),
        objective=AutoregressiveConfig(),
        train=TrainConfig(epochs=30, learning_rate=3e-3, patience=6),
        evaluation=EvaluationConfig(exclude_seen=True),
        transfer=TransferConfig(
            arms=(
                "scratch",
                "frozen_mlp",
                "head_only",
                "last_layers",
                "full",
                "lora",
                "serial_patches",
                "parallel_patches",
                "peter_zero",
            ),
            learning_rates=(3e-4, 3e-3),
        ),
    )
