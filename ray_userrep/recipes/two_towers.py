"""SSL two towers: items by their columns, contrasted with themselves beside the main loss (Yao et al., CIKM 2021).

The item tower is a network over the columns of the catalogue; the query tower is the mean of the items of a history and
a small network, over the same item vectors. The main loss is a softmax over the batch's own targets with their sampling
taken off (logQ); beside it, items drawn evenly from the catalogue are told from each other by complementary halves of
their columns. No code of the original was at hand, and two reimplementations differ from each other: it is inspired by
it. Which columns there are differs from log to log: name them in `encoder.items`.
"""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import EncoderConfig, FeatureItemsConfig, MeanConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.objective import (
    AutoregressiveConfig,
    ItemContrastConfig,
    PartConfig,
    SampledSoftmaxConfig,
    WeightedConfig,
)
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig


def two_towers() -> Recipe:
    """Five columns that shops have, temperature .07, the contrast at a tenth of the weight."""
    columns = ("category.1", "category.2", "category.3", "text")
    softmax = SampledSoftmaxConfig(sampler="in_batch", num_negatives=1024, temperature=0.07)
    return Recipe(
        name="two_towers",
        stream=StreamConfig(max_len=50, batch_tokens=2048),
        encoder=EncoderConfig(
            width=64,
            items=FeatureItemsConfig(columns=columns, numbers=("price",)),
            unit_items=True,
            backbone=MeanConfig(),
        ),
        objective=WeightedConfig(
            parts=[
                PartConfig(weight=1.0, objective=AutoregressiveConfig(softmax=softmax)),
                PartConfig(weight=0.1, objective=ItemContrastConfig(temperature=0.07)),
            ]
        ),
        train=TrainConfig(epochs=16, learning_rate=3e-3, patience=6),
        evaluation=EvaluationConfig(exclude_seen=True),
    )
