"""SASRec of RecBole, by its own trainer: every prefix of a history is a sample of its own, padded to the full length.

A sample has one target, so that a batch is so many targets; RecBole's default of 2,048 bounds it. Its feed-forward is
given the width of the model, as in the others. It has no sampled softmax. Importing its sequential models turns torch's
anomaly detection on, by one of them; it is turned off again, which its users would have to know.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from peers.common import Clock, Data, evaluate, main
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.model.sequential_recommender import SASRec
from recbole.trainer import Trainer

_NAME = "log"
_LARGEST_BATCH = 2048


def train(job: dict[str, Any], data: Data, clock: Clock) -> dict[str, Any]:
    """Until the clock ends it."""
    if job["loss"] != "full":
        return {"outcome": "has no such loss"}
    torch.autograd.set_detect_anomaly(False)
    with tempfile.TemporaryDirectory() as folder:
        write(data, Path(folder) / _NAME)
        config = configured(job, data, folder)
        dataset = create_dataset(config)
        batches, *_ = data_preparation(config, dataset)
        model = SASRec(config, batches.dataset)
        trainer = Trainer(config, model)
        observe(trainer, clock)
        clock.evaluate = lambda: evaluated(model, data, dataset)
        clock.start()
        trainer.fit(batches, saved=False, verbose=False)
    raise AssertionError("training ended before its time")


def write(data: Data, folder: Path) -> None:
    """The library's atomic file: the windows and, for it to split off again, each user's next item."""
    users, items, order = data.table()
    num_users = len(data.targets_U)
    rows = pd.DataFrame({"user_id:token": users, "item_id:token": items, "timestamp:float": order})
    held_out = pd.DataFrame(
        {"user_id:token": np.arange(num_users), "item_id:token": data.targets_U, "timestamp:float": data.length + 1}
    )
    folder.mkdir()
    pd.concat([rows, held_out]).to_csv(folder / f"{_NAME}.inter", sep="\t", index=False)


def configured(job: dict[str, Any], data: Data, folder: str) -> Config:
    settings = job["settings"] = {
        "n_layers": job["layers"],
        "n_heads": job["heads"],
        "hidden_size": job["width"],
        "inner_size": job["width"],
        "hidden_dropout_prob": job["dropout"],
        "attn_dropout_prob": job["attention_dropout"],
        "loss_type": "CE",
        "MAX_ITEM_LIST_LENGTH": data.length,
        "train_batch_size": min(job["batch_targets"], _LARGEST_BATCH),
        "learning_rate": job["learning_rate"],
    }
    rest = {
        "data_path": folder,
        "checkpoint_dir": folder,
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "eval_args": {"split": {"LS": "valid_only"}, "order": "TO", "mode": "full"},
        "metrics": ["NDCG"],
        "valid_metric": "NDCG@10",
        "train_neg_sample_args": None,
        "epochs": 10**6,
        "use_gpu": False,
        "show_progress": False,
        "seed": job["seed"],
        "reproducibility": False,
    }
    return Config(model="SASRec", dataset=_NAME, config_dict=settings | rest)


def observe(trainer: Trainer, clock: Clock) -> None:
    """Tell the clock of each step: its samples, once the optimiser is through."""
    pending: list[int] = []
    loss_of = trainer.model.calculate_loss

    def counted(batch: Interaction) -> torch.Tensor:
        pending.append(len(batch))
        return loss_of(batch)

    trainer.model.calculate_loss = counted
    trainer.optimizer.register_step_post_hook(lambda *_: clock.step(pending.pop()))


def evaluated(model: SASRec, data: Data, dataset: Any) -> float:
    """NDCG@10 with the weights of this moment."""
    known = dataset.field2id_token[dataset.iid_field][1:].astype(np.int64)  # the first is padding

    def scores(histories: list[np.ndarray]) -> torch.Tensor:
        rows = torch.zeros(len(histories), data.length, dtype=torch.long)
        for row, history in zip(rows, histories, strict=True):
            row[: len(history)] = torch.from_numpy(history)
        lengths = torch.tensor([len(history) for history in histories])
        batch = Interaction({model.ITEM_SEQ: rows, model.ITEM_SEQ_LEN: lengths})
        return model.full_sort_predict(batch)[:, 1:]

    return evaluate(model, data, known, 1, scores)


if __name__ == "__main__":
    main(train, ("recbole",))
