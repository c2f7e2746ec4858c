"""DUPN: one user vector for several tasks at once, by an LSTM whose gates properties drive (Ni et al., KDD 2018).

What an interaction was of drives the recurrence, when it was and at what price only its gates; attention weighs the
states. Every task is a part of the loss: the next item, and price, time to and hour of the next interaction, which logs
with times and prices bring along. Inspired by it: no public code was found. A log's own kinds of events and labels of
users are further tasks (`objective.kind next_fields` and `labels`); a task that was left out is then transferred to.
"""

from ray_userrep.recipe.corpus import StreamConfig
from ray_userrep.recipe.encoder import EncoderConfig, LSTMConfig
from ray_userrep.recipe.objective import AutoregressiveConfig, NextFieldsConfig, PartConfig, WeightedConfig
from ray_userrep.recipe.recipe import Recipe
from ray_userrep.recipe.train import TrainConfig
from ray_userrep.recipe.transfer import TransferConfig


def dupn() -> Recipe:
    """One layer, four tasks of equal weight; `--encoder.backbone.context added` is the plain LSTM."""
    fields = NextFieldsConfig(fields=("price", "gap", "hour"))
    return Recipe(
        name="dupn",
        stream=StreamConfig(max_len=100, batch_tokens=4096),
        encoder=EncoderConfig(
            width=64,
            context=("price", "gap", "hour"),
            backbone=LSTMConfig(context="gates"),
            readout="attention",
        ),
        objective=WeightedConfig(
            parts=[PartConfig(weight=1.0, objective=AutoregressiveConfig()), PartConfig(weight=1.0, objective=fields)]
        ),
        train=TrainConfig(epochs=20, learning_rate=3e-3, patience=5),
        transfer=TransferConfig(arms=("scratch", "frozen_mlp", "full"), readouts=("own",)),
    )
