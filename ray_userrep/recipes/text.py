"""Items by their texts alone: an encoder that knows items it has never seen."""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import EncoderConfig, TextItemsConfig, TransformerConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.objective import AutoregressiveConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig


def text() -> Recipe:
    """Frozen text vectors through a linear map and a small network; the log needs item texts."""
    return Recipe(
        name="text",
        stream=StreamConfig(max_len=200, batch_tokens=4096),
        encoder=EncoderConfig(
            width=128,
            items=TextItemsConfig(hidden=512),
            backbone=TransformerConfig(),
        ),
        objective=AutoregressiveConfig(),
        train=TrainConfig(epochs=30, learning_rate=2e-3, patience=6),
        evaluation=EvaluationConfig(exclude_seen=True),
    )
