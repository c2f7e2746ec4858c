"""TransRec: items are their titles and pictures, encoded end to end with the users' Transformer (Wang et al., 2022).

No item has a weight of its own, so that the encoder goes to any other catalogue, of texts, of pictures or of both. As
there, the last two layers of the language model are trained. What differs: pictures go through a small network from
scratch (`encoder.items.parts` takes EfficientNet-Lite0, whose last blocks are trained, in place of its ResNet-18);
the language model is a small English one; an item with both kinds of content is the mean of both, where items there
have one of them; every place of a causal, pre-norm Transformer is trained, each on one of the next five items drawn
anew, where the original predicts five items from one bidirectional vector a user; negatives are drawn for a batch.
"""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import ByModalityItemsConfig, EncoderConfig, TransformerConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.objective import AutoregressiveConfig, SampledSoftmaxConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig


def transrec() -> Recipe:
    """Four layers of width 256 over 25 items, five items ahead, binary cross-entropy with negatives drawn evenly."""
    layers = TransformerConfig(
        num_layers=4, num_heads=4, positions="learned", ffn="gelu", ffn_mult=0.5, norm="layer", dropout=0.1
    )
    negatives = SampledSoftmaxConfig(loss="bce", sampler="counts", alpha=0.0, num_negatives=128)
    return Recipe(
        name="transrec",
        stream=StreamConfig(max_len=25, batch_tokens=1024),
        encoder=EncoderConfig(width=256, items=ByModalityItemsConfig(), dropout=0.1, backbone=layers),
        objective=AutoregressiveConfig(softmax=negatives, horizon=5),
        train=TrainConfig(epochs=30, learning_rate=1e-3, item_learning_rate=1e-4, patience=6),
        evaluation=EvaluationConfig(exclude_seen=True),
    )
