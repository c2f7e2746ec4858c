"""The default: next-item pretraining on the embedded Online Retail log, sized for a laptop."""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import EncoderConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig


def online_retail() -> Recipe:
    """Customers as users; every window of each history, full cross-entropy over the 3,665 items."""
    return Recipe(
        name="online_retail",
        stream=StreamConfig(max_len=64, batch_tokens=2048),
        encoder=EncoderConfig(width=128),
        train=TrainConfig(epochs=12, learning_rate=3e-3),
    )
