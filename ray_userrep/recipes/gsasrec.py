"""gSASRec: SASRec with a binary loss that sampling does not make overconfident (Petrov & Macdonald, RecSys 2023)."""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import EncoderConfig, TransformerConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.objective import AutoregressiveConfig, SampledSoftmaxConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig


def gsasrec() -> Recipe:
    """256 negatives, calibration 0.75; negatives are uniform, as in the original, and shared by a batch."""
    return Recipe(
        name="gsasrec",
        stream=StreamConfig(max_len=200, batch_tokens=4096),
        encoder=EncoderConfig(
            width=128,
            backbone=TransformerConfig(positions="learned", ffn="gelu", norm="layer"),
        ),
        objective=AutoregressiveConfig(
            softmax=SampledSoftmaxConfig(loss="gbce", num_negatives=256, alpha=0.0, calibration=0.75)
        ),
        train=TrainConfig(epochs=40, learning_rate=1e-3, patience=8),
        evaluation=EvaluationConfig(exclude_seen=True),
    )
