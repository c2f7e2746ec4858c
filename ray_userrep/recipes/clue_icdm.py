"""CLUE, inspired by contrastive user pretraining (Cheng et al., ICDM 2021): two runs of a history are one user.

Its method was not at hand in full. The backbone is PeterRec's, so that the two compare; temperature, crop and batch
are `objective.temperature`, `objective.share` and `stream.batch_tokens`.
"""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import CNNConfig, EncoderConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.objective import ContrastiveConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig


def clue_icdm() -> Recipe:
    """Eight causal blocks of dilations 1 and 4; InfoNCE among the batch's windows."""
    return Recipe(
        name="clue_icdm",
        stream=StreamConfig(max_len=100, batch_tokens=16384),
        encoder=EncoderConfig(width=64, backbone=CNNConfig(num_blocks=8, dilations=(1, 4))),
        objective=ContrastiveConfig(views="subsequences", share=0.6, temperature=0.1),
        train=TrainConfig(epochs=60, learning_rate=1e-3, patience=10),
        evaluation=EvaluationConfig(exclude_seen=True),
    )
