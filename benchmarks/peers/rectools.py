"""SASRec of RecTools, as its own `fit` trains it: fixed length, every position of the newest window a target.

Its feed-forward is as wide as the model, its attention has dropout too, and logits are made for padded places as well;
a batch is so many users. Sampled negatives are drawn for each place.
"""

from typing import Any

import numpy as np
import pandas as pd
import torch
from peers.common import Clock, Data, evaluate, left_padded, main
from peers.rectools_flat import train_flat
from pytorch_lightning import Callback, LightningModule, Trainer
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

_LOSSES = {"full": "softmax", "sampled": "sampled_softmax"}


class Steps(Callback):
    """Tells the clock of each step."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def __deepcopy__(self, memo: dict[int, Any]) -> "Steps":
        return self  # the model copies its trainer; there is one clock

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.clock.start()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: dict[str, torch.Tensor], batch_idx: int
    ) -> None:
        self.clock.step(int((batch["y"] != 0).sum()))


def train(job: dict[str, Any], data: Data, clock: Clock) -> dict[str, Any]:
    """Until the clock ends it."""
    if job["flat"]:
        train_flat(job, data, clock)
    settings = job["settings"] = {
        "n_blocks": job["layers"],
        "n_heads": job["heads"],
        "n_factors": job["width"],
        "dropout_rate": job["dropout"],
        "session_max_len": data.length,
        "batch_size": job["batch_users"],
        "lr": job["learning_rate"],
        "loss": _LOSSES[job["loss"]],
        "n_negatives": job["negatives"],
    }
    model = SASRecModel(**settings)
    model._trainer = Trainer(
        max_epochs=10**6,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        callbacks=[Steps(clock)],
    )
    clock.evaluate = lambda: evaluated(model, data)
    model.fit(dataset(data))
    raise AssertionError("training ended before its time")


def dataset(data: Data) -> Dataset:
    users, items, order = data.table()
    times = pd.Timestamp(2000, 1, 1) + pd.to_timedelta(order, unit="s")
    columns = {Columns.User: users, Columns.Item: items, Columns.Weight: 1.0, Columns.Datetime: times}
    return Dataset.construct(pd.DataFrame(columns))


def evaluated(model: SASRecModel, data: Data) -> float:
    """NDCG@10 with the weights of this moment."""
    known = model.data_preparator.item_id_map.external_ids[1:].astype(np.int64)  # the first is padding
    network = model.lightning_model.torch_model

    def scores(histories: list[np.ndarray]) -> torch.Tensor:
        table = network.item_model.get_all_embeddings()
        return network.encode_sessions({"x": left_padded(histories, data.length, 0)}, table)[:, -1] @ table[1:].T

    return evaluate(network, data, known, 1, scores)


if __name__ == "__main__":
    main(train, ("rectools", "pytorch-lightning"))
