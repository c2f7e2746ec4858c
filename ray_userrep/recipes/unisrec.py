"""UniSRec, pretraining: texts of several domains as the only items, two contrasts (Hou et al., KDD 2022).

A state against the item that follows, and against the same history with some items dropped; negatives are the batch's,
of all domains and workers, but for those with the same item to come. Three things are not as there: every place of a
window is trained on, where the original explodes histories into prefixes; the second contrast goes both ways; a text
has one version with words dropped, for a tenth of the batches, and how many words is ours. Attention has no dropout.
The arms `unisrec_inductive` and `unisrec_transductive` of the transfer job are its fine-tuning.
"""

from ray_userrep.recipe.corpus import StreamConfig, TextConfig
from ray_userrep.recipe.encoder import EncoderConfig, TransformerConfig, WhitenedMoEItemsConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.objective import (
    AutoregressiveConfig,
    ContrastiveConfig,
    InBatchSoftmaxConfig,
    PartConfig,
    WeightedConfig,
)
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig


def unisrec() -> Recipe:
    """Two layers of width 300, eight experts, temperature .07; a batch of 8,192 targets."""
    drops = ContrastiveConfig(views="drop", share=0.2, whole_first=True, same_target=True, temperature=0.07, reword=0.1)
    return Recipe(
        name="unisrec",
        text=TextConfig(word_drop=0.2),
        stream=StreamConfig(max_len=50, batch_tokens=8192),
        encoder=EncoderConfig(
            width=300,
            items=WhitenedMoEItemsConfig(num_experts=8, dropout=0.2),
            unit_items=True,
            dropout=0.5,
            backbone=TransformerConfig(positions="learned", ffn="gelu", ffn_mult=256 / 300, norm="layer", dropout=0.5),
        ),
        objective=WeightedConfig(
            parts=[
                PartConfig(weight=1.0, objective=AutoregressiveConfig(softmax=InBatchSoftmaxConfig(temperature=0.07))),
                PartConfig(weight=1e-3, objective=drops),
            ]
        ),
        train=TrainConfig(epochs=30, learning_rate=1e-3, patience=6),
        evaluation=EvaluationConfig(exclude_seen=True),
    )
