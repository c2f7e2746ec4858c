"""CLUE (NAVER): what one user did in two services is one user (Shin et al., AAAI 2023).

A Transformer over the words of an item's text makes the item; another mixes those of one service, and the mean is the
user's vector. Negatives are the other users of the batch, over all workers; a window of one service is a negative only.
Words are hashed, where the original has a tokenizer. Its contrastive loss was not at hand in full: it is the symmetric
InfoNCE here.
"""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import EncoderConfig, TransformerConfig, WordItemsConfig
from ray_userrep.recipe.objective import ContrastiveConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig


def clue_naver() -> Recipe:
    """Two bidirectional layers over long windows, so that many hold two domains; the log needs texts and domains."""
    return Recipe(
        name="clue_naver",
        stream=StreamConfig(max_len=256, batch_tokens=32768),
        encoder=EncoderConfig(
            width=128,
            items=WordItemsConfig(),
            backbone=TransformerConfig(causal=False),
            readout="mean",
        ),
        objective=ContrastiveConfig(views="domains", temperature=0.1),
        train=TrainConfig(epochs=60, learning_rate=1e-3, patience=10),
    )
