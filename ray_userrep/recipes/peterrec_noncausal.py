"""PeterRec over GRec: a bidirectional dilated CNN pretrained on hidden items (Yuan et al., SIGIR 2020, section 3.3)."""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import CNNConfig, EncoderConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.objective import AutoencodingConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig
from ray_userrep.recipe.transfer import TransferConfig


def peterrec_noncausal() -> Recipe:
    """Three tenths of the items hidden; the user vector is that of a hidden item at the end."""
    return Recipe(
        name="peterrec_noncausal",
        stream=StreamConfig(max_len=100, batch_tokens=4096),
        encoder=EncoderConfig(
            width=64,
            readout="mask",
            backbone=CNNConfig(num_blocks=4, dilations=(1, 4), causal=False),
        ),
        objective=AutoencodingConfig(mask_rate=0.3, last_rate=0.1),
        train=TrainConfig(epochs=60, learning_rate=3e-3, patience=10),
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
