"""RecTools' flat SASRec network (its `fast_transformers`) on its own sequences and data set, in a plain loop.

The package brings a trainer for text items only, so that the loop is ours: Adam, and cross-entropy at every place that
is not padding, over all items or the target and negatives of its own. Its feed-forward is four times as wide as the
model.
"""

from typing import Any, NoReturn

import numpy as np
import torch
from peers.common import Clock, Data, evaluate, left_padded, without_attention_dropout
from rectools.fast_transformers import FlatSASRecNet, SequenceBatchDataset, build_sequences
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

_LEFT_OUT = -100


def train_flat(job: dict[str, Any], data: Data, clock: Clock) -> NoReturn:
    """Until the clock ends it."""
    users, items, order = (torch.from_numpy(np.ascontiguousarray(column)) for column in data.table())
    x_UL, y_UL, known, _ = build_sequences(users, items, order, data.length)
    settings = {"n_factors": job["width"], "n_blocks": job["layers"], "n_heads": job["heads"]}
    settings |= {"session_max_len": data.length, "dropout": job["dropout"]}
    network = FlatSASRecNet(len(known), **settings)
    if not job["attention_dropout"]:
        without_attention_dropout(network)
    own = {name: job[name] for name in ("attention_dropout", "batch_users", "learning_rate")}
    job["settings"] = settings | own | {"loss": job["loss"], "negatives": job["negatives"]}
    optimizer = torch.optim.Adam(network.parameters(), lr=job["learning_rate"])
    batches = DataLoader(SequenceBatchDataset(x_UL, y_UL), job["batch_users"], shuffle=True)
    clock.evaluate = lambda: evaluated(network, data, known.numpy())
    clock.start()
    while True:
        for batch in batches:
            loss = loss_of(network, batch, job["negatives"] if job["loss"] == "sampled" else None)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            clock.step(int((batch["y"] != network.PADDING_IDX).sum()))


def loss_of(network: FlatSASRecNet, batch: dict[str, torch.Tensor], num_negatives: int | None) -> torch.Tensor:
    """The mean over all targets, each among all items or before its negatives."""
    y = batch["y"]
    if num_negatives is None:
        target = y - 1
    else:
        target = torch.zeros_like(y)
        batch = batch | {"negatives": torch.randint(1, network.n_items + 1, (*y.shape, num_negatives))}
    target = target.masked_fill(y == network.PADDING_IDX, _LEFT_OUT)
    return cross_entropy(network(batch).flatten(0, 1), target.flatten(), ignore_index=_LEFT_OUT)


def evaluated(network: FlatSASRecNet, data: Data, known: np.ndarray) -> float:
    """NDCG@10 with the weights of this moment."""

    def scores(histories: list[np.ndarray]) -> torch.Tensor:
        return network.encode_last(left_padded(histories, data.length, 0)) @ network.all_item_embeddings().T

    return evaluate(network, data, known, 1, scores)
