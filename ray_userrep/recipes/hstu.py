"""HSTU: pointwise gated attention with relative place and time (Zhai et al., ICML 2024)."""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import EncoderConfig, HSTUConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig


def hstu() -> Recipe:
    """Four units; full cross-entropy, which a catalogue of thousands affords."""
    return Recipe(
        name="hstu",
        stream=StreamConfig(max_len=200, batch_tokens=4096),
        encoder=EncoderConfig(
            width=64,
            backbone=HSTUConfig(num_layers=4),
        ),
        train=TrainConfig(epochs=16, learning_rate=3e-3, patience=6),
        evaluation=EvaluationConfig(exclude_seen=True),
    )
