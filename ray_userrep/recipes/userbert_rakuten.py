"""UserBERT (Rakuten): long-term bundles and the newest interactions in one encoder, masked (arXiv 2202.07605).

Inspired by it: neither code nor full text was at hand. What a user did in a week is one row, the mean of its
interactions; the newest interactions are rows of their own. Hidden rows are told from the others by what they were
like, several things at once: words of the items' texts, prices, hours of the week. A log with categories names them in
`objective.columns`, one without prices leaves them out of `objective.fields`. The encoder is then fine-tuned for
attributes of users, for who returns, and for what is bought next.
"""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import EncoderConfig, IdItemsConfig, SideItemsConfig, SumItemsConfig, TransformerConfig
from ray_userrep.recipe.objective import MaskedBundlesConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig
from ray_userrep.recipe.transfer import TransferConfig


def userbert_rakuten() -> Recipe:
    """Two bidirectional layers over weeks and the newest 32 interactions; `--encoder.singles 0` is weeks alone."""
    return Recipe(
        name="userbert_rakuten",
        stream=StreamConfig(max_len=200, batch_tokens=4096),
        encoder=EncoderConfig(
            width=64,
            items=SumItemsConfig(parts=[IdItemsConfig(), SideItemsConfig()]),
            context=("hour", "month"),
            bundle="week",
            singles=32,
            backbone=TransformerConfig(causal=False, positions="learned", ffn="gelu", norm="layer"),
            readout="mean",
        ),
        objective=MaskedBundlesConfig(columns=("text",)),
        train=TrainConfig(epochs=60, learning_rate=1e-3, patience=10),
        transfer=TransferConfig(arms=("scratch", "frozen_mlp", "full"), readouts=("own", "whole")),
    )
