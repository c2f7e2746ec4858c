"""The default: next-item pretraining on the embedded Online Retail log, sized for a laptop."""

from ray_userrep.corpus.config import StreamConfig
from ray_userrep.encoder.config import EncoderConfig
from ray_userrep.recipe import Recipe
from ray_userrep.training.config import TrainConfig


def online_retail() -> Recipe:
    """Customers as users; every window of each history, full cross-entropy over the 3,665 items."""
    return Recipe(
        name="online_retail",
        stream=StreamConfig(max_len=64, batch_tokens=2048),
        encoder=EncoderConfig(width=128),
        train=TrainConfig(epochs=12, learning_rate=3e-3),
    )
