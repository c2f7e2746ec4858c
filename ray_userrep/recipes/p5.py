"""P5: every task as text to one model that reads and writes (Geng et al., RecSys 2022).

A T5 with whole-word embeddings, here tiny and from scratch: the original starts from pretrained T5 weights, and its
"small" is width 512, 6 layers, 8 heads, feed_forward 2048. Not as there: one leave-one-out rule for all families, where
the original splits reviews at random, so that pairs it tests next items on stand in prompts of other families; numbers
of items are shuffled, where the original's tell the next item by counting; words are told in generation as well; a
row's prompt and its other item are drawn once, not in each epoch. Wordings are this project's own, prompts with
candidates to choose from are left out: all items are ranked.
"""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.evaluation import EvaluationConfig
from ray_userrep.recipe.generative import GenerativeConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig


def p5() -> Recipe:
    """Next items and direct recommendation, which need no column of the log; name more in `generative.families`."""
    return Recipe(
        name="p5",
        stream=StreamConfig(max_len=256, windows="last", batch_tokens=8192),
        generative=GenerativeConfig(families=("sequential", "direct")),
        train=TrainConfig(epochs=10, learning_rate=1e-3, patience=3),
        evaluation=EvaluationConfig(exclude_seen=True, max_users=1000),
    )
