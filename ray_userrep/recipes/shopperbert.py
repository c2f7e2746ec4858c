"""ShopperBERT: hidden purchases by their side information, over shuffled crops (Shin et al. 2021, One4all).

An item is its text, categories and price, beside the year, month, day and hour of the purchase. A hidden purchase is
predicted at its place, item, categories, price and time with equal weights; fields that a log lacks are dropped, and
the run says which. Predicting the item itself is not in the original, whose catalogue is too large for it: here it is
what validation ranks. Time is read as UTC, and the hour as that of the week, which holds the weekday.
"""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import (
    EncoderConfig,
    SideItemsConfig,
    SumItemsConfig,
    TextItemsConfig,
    TransformerConfig,
)
from ray_userrep.recipe.objective import AutoencodingConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig


def shopperbert() -> Recipe:
    """Two bidirectional layers, user vectors by the mean; `--encoder.readout cls` is the other one."""
    return Recipe(
        name="shopperbert",
        stream=StreamConfig(max_len=200, batch_tokens=4096),
        encoder=EncoderConfig(
            width=128,
            items=SumItemsConfig(parts=[TextItemsConfig(), SideItemsConfig()]),
            context=("hour", "day", "month", "year"),
            backbone=TransformerConfig(causal=False, positions="learned", ffn="gelu", norm="layer"),
            readout="mean",
        ),
        objective=AutoencodingConfig(
            mask_rate=0.15,
            heads=("category", "category_2", "category_3", "category_4", "price", "hour", "day", "month", "year"),
            head_weight=1.0,
            missing_heads="drop",
            predict_from="place",
            crop=0.8,
            shuffle=0.2,
        ),
        train=TrainConfig(epochs=60, learning_rate=1e-3, patience=10),
    )
