"""Conure: tasks learned one after the other in one network, by pruning masks (Yuan et al., SIGIR 2021).

Blocks are pre-activated here, and of width 32 where the original has 256. All tasks of next items are learned with a
sampled softmax, where the original turns to BPR with negatives weighted by rank behind the first; attributes by the
softmax over their classes. A later task's free weights start at zero, where the original's start from what was pruned.
Norms and item vectors are the first task's; a new catalogue's vectors are those of the first task on it.
"""

from ray_userrep.recipe.continual import ContinualConfig
from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import CNNConfig, EncoderConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.objective import AutoregressiveConfig, SampledSoftmaxConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig
from ray_userrep.recipe.transfer import TransferConfig


def conure() -> Recipe:
    """Next items first, then every attribute of the users; small, so that all methods run on one core in minutes."""
    return Recipe(
        name="conure",
        stream=StreamConfig(max_len=50, batch_tokens=4096),
        encoder=EncoderConfig(width=32, backbone=CNNConfig(num_blocks=4, dilations=(1, 4), dropout=0.1), dropout=0.1),
        objective=AutoregressiveConfig(softmax=SampledSoftmaxConfig(num_negatives=512)),
        train=TrainConfig(epochs=6, learning_rate=5e-3, patience=3),
        evaluation=EvaluationConfig(exclude_seen=True, num_bootstrap=300),
        transfer=TransferConfig(epochs=6, patience=3, batch_tokens=2048, learning_rates=(3e-3,)),
        continual=ContinualConfig(prune=0.7),
    )
