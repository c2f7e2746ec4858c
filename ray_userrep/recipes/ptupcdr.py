"""PTUPCDR: what new users of a second domain will think of its items, by a map of its own for each (Zhu et al. 2022).

The original factorises the ratings of both domains without means or biases and draws users from them; its code chooses
the best epoch on the test users. Here means and biases come first, factors explain what these leave over, weights are
chosen on validation, and bridges also start from an encoder that was pretrained on the first domain (`personal_bridge`,
`linear_bridge`). The log is the first domain's; `transfer.corpus` names the corpus of the second.
"""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import EncoderConfig
from ray_userrep.recipe.objective import AutoregressiveConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig
from ray_userrep.recipe.transfer import CrossDomainTaskConfig, TransferConfig


def ptupcdr() -> Recipe:
    """Ten factors and a network of 50 as in the original; a causal Transformer of width 64 beside them."""
    return Recipe(
        name="ptupcdr",
        stream=StreamConfig(max_len=50, batch_tokens=2048),
        encoder=EncoderConfig(width=64),
        objective=AutoregressiveConfig(),
        train=TrainConfig(epochs=20, learning_rate=1e-3, patience=5),
        transfer=TransferConfig(
            task=CrossDomainTaskConfig(),
            arms=("scratch", "head_only", "linear_bridge", "personal_bridge", "emcdr", "ptupcdr"),
            readouts=("whole",),
            batch_tokens=1024,
            learning_rates=(1e-3, 1e-2),
        ),
    )
