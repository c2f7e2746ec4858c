"""GRU4Rec: a recurrent network over the history (Hidasi et al., ICLR 2016; its later sampled loss)."""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import EncoderConfig, GRUConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.objective import AutoregressiveConfig, SampledSoftmaxConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig


def gru4rec() -> Recipe:
    """One recurrent layer, sampled softmax over 1,024 negatives by counts."""
    return Recipe(
        name="gru4rec",
        stream=StreamConfig(max_len=200, batch_tokens=4096),
        encoder=EncoderConfig(
            width=64,
            backbone=GRUConfig(),
        ),
        objective=AutoregressiveConfig(softmax=SampledSoftmaxConfig(num_negatives=1024, alpha=0.5)),
        train=TrainConfig(epochs=30, learning_rate=3e-3, patience=6),
        evaluation=EvaluationConfig(exclude_seen=True),
    )
