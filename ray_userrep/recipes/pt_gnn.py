"""PT-GNN: a graph network that foresees from three items what a user will turn out to be (Hao et al., WSDM 2021).

Inspired by it (arXiv 2012.07064): its authors' code was read, the full text was not at hand. Pretraining predicts
oracle vectors of warm users and items from a few neighbours; then `transfer`, with `--objective.kind autoregressive`,
to the next items of new users of whom three interactions are known. Beside the original, oracle vectors are made here,
of what is trained on alone, users have no vectors of their own, and next items are learned by full cross-entropy. Held
out are the same users in both: `split` and `transfer.task` agree.
"""

from ray_userrep.recipe.corpus import ColdUserConfig, StreamConfig
from ray_userrep.recipe.encoder import EncoderConfig, GNNConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.objective import ReconstructConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig
from ray_userrep.recipe.transfer import NextItemTaskConfig, TransferConfig

_SHOTS = 3


def pt_gnn() -> Recipe:
    """GraphSAGE with the meta-aggregator; `--encoder.backbone.layer gat` and `sampler learned` are the variants."""
    return Recipe(
        name="pt_gnn",
        split=ColdUserConfig(valid_share=0.1, test_share=0.2, max_known=_SHOTS),
        stream=StreamConfig(max_len=_SHOTS, batch_tokens=2048),
        encoder=EncoderConfig(width=64, backbone=GNNConfig(layer="sage", num_neighbours=3)),
        objective=ReconstructConfig(),
        train=TrainConfig(epochs=20, learning_rate=3e-3, patience=5),
        evaluation=EvaluationConfig(exclude_seen=True),
        transfer=TransferConfig(
            task=NextItemTaskConfig(users="cold", valid_share=0.1, test_share=0.2, max_known=_SHOTS),
            arms=("scratch", "full"),
            learning_rates=(1e-3, 3e-3),
        ),
    )
