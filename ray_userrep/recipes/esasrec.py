"""eSASRec: gated pre-norm layers and sampled softmax with mixed negatives (Tikhonovich et al., RecSys 2025)."""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import EncoderConfig, TransformerConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.objective import AutoregressiveConfig, SampledSoftmaxConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig


def esasrec() -> Recipe:
    """Two gated layers; half of the negatives come from the batch, half from the catalogue."""
    return Recipe(
        name="esasrec",
        stream=StreamConfig(max_len=200, batch_tokens=4096),
        encoder=EncoderConfig(
            width=64,
            backbone=TransformerConfig(gated=True),
        ),
        objective=AutoregressiveConfig(softmax=SampledSoftmaxConfig(sampler="mixed", num_negatives=1024, alpha=0.0)),
        train=TrainConfig(epochs=24, learning_rate=2e-3, patience=6),
        evaluation=EvaluationConfig(exclude_seen=True),
    )
