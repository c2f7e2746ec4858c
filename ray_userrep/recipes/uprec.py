"""UPRec: hidden items, attributes of users, and who is friends with whom (Xiao et al. 2021, arXiv 2102.10989).

Inspired by it: neither code nor full text was at hand. One bidirectional encoder is read out at the largest of each
number of its states, and three losses of equal weight train it: hidden items at their places, attributes of the user,
and friends told from users to whom there is no tie. It is then fine-tuned for next items, with `transfer`. The log
needs a table of users and one of relations beside it; of users whom a transfer asks about no attribute is read.
"""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import EncoderConfig, TransformerConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.objective import AutoencodingConfig, LabelsConfig, PartConfig, SocialConfig, WeightedConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig


def uprec() -> Recipe:
    """Two bidirectional layers; all attributes that can be told, and all relations."""
    objectives = (AutoencodingConfig(predict_from="place"), LabelsConfig(), SocialConfig())
    return Recipe(
        name="uprec",
        stream=StreamConfig(max_len=50, batch_tokens=4096),
        encoder=EncoderConfig(
            width=64,
            backbone=TransformerConfig(causal=False, positions="learned", ffn="gelu", norm="layer"),
            readout="max",
        ),
        objective=WeightedConfig(parts=[PartConfig(weight=1.0, objective=one) for one in objectives]),
        train=TrainConfig(epochs=60, learning_rate=1e-3, patience=10),
        evaluation=EvaluationConfig(exclude_seen=True),
    )
