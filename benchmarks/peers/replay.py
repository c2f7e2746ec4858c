"""SasRec of RePlay, by its Parquet module: fixed length, every position of the newest window a target.

Its feed-forward is as wide as the model, and its attention has dropout too; a batch is so many users. Sampled negatives
are drawn once a batch. With `trim` its two helpers against padding are on, which are not by default: batches are cut to
their longest window, and the encoder takes windows of similar length together.
"""

import tempfile
import warnings
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from peers.common import Clock, Data, evaluate, left_padded, main, without_attention_dropout
from replay.data import FeatureHint, FeatureSource, FeatureType
from replay.data.nn import ParquetModule, TensorFeatureInfo, TensorFeatureSource, TensorSchema
from replay.nn.lightning import LightningModule
from replay.nn.lightning.optimizer import OptimizerFactory
from replay.nn.loss import CESampled
from replay.nn.sequential import LengthBucketedQueryEncoder, SasRec
from replay.nn.transform import TargetAwareAdaptiveTrimTransform, UniformNegativeSamplingTransform
from replay.nn.transform.template import make_default_sasrec_transforms

_ITEM = "item_id"
_BUCKET_USERS = 32


class Steps(lightning.Callback):
    """Tells the clock of each step."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.clock.start()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # It also predicts a short history's first item, from padding: no system else does, and it is not counted.
        counted = batch["target_padding_mask"][..., 0] & batch["padding_mask"]
        self.clock.step(int(counted.sum()))


def train(job: dict[str, Any], data: Data, clock: Clock) -> dict[str, Any]:
    """Until the clock ends it."""
    warnings.filterwarnings("ignore")
    known, codes_N = np.unique(np.concatenate(data.windows()), return_inverse=True)
    model = network(job, data.length, len(known))
    module = LightningModule(model, OptimizerFactory(learning_rate=job["learning_rate"]))
    trainer = lightning.Trainer(
        max_epochs=10**6,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        callbacks=[Steps(clock)],
    )
    clock.evaluate = lambda: evaluated(model, data, known)
    with tempfile.TemporaryDirectory() as folder:
        trainer.fit(module, datamodule=batches(job, data, len(known), codes_N.reshape(-1), folder))
    raise AssertionError("training ended before its time")


def network(job: dict[str, Any], length: int, num_items: int) -> SasRec:
    """The model, with its loss."""
    settings = job["settings"] = {
        "embedding_dim": job["width"],
        "num_heads": job["heads"],
        "num_blocks": job["layers"],
        "max_sequence_length": length,
        "dropout": job["dropout"],
    }
    model = SasRec.from_params(schema(num_items, job["width"]), **settings)
    if job["loss"] == "sampled":
        model.loss = CESampled()
        model.loss.logits_callback = model.get_logits
    if not job["attention_dropout"]:
        without_attention_dropout(model)
    if job["trim"]:
        model.body.encoder = LengthBucketedQueryEncoder(model.body.encoder, _BUCKET_USERS)
    job["settings"] = settings | {
        "loss": type(model.loss).__name__,
        "negatives": job["negatives"],
        "batch_size": job["batch_users"],
        "learning_rate": job["learning_rate"],
        "attention_dropout": job["attention_dropout"],
        "bucket_size": _BUCKET_USERS if job["trim"] else None,
    }
    return model


def schema(num_items: int, width: int) -> TensorSchema:
    feature = TensorFeatureInfo(
        _ITEM,
        is_seq=True,
        feature_type=FeatureType.CATEGORICAL,
        embedding_dim=width,
        padding_value=num_items,
        cardinality=num_items,
        feature_hint=FeatureHint.ITEM_ID,
        feature_sources=[TensorFeatureSource(FeatureSource.INTERACTIONS, _ITEM)],
    )
    return TensorSchema([feature])


def batches(job: dict[str, Any], data: Data, num_items: int, codes_N: np.ndarray, folder: str) -> ParquetModule:
    """The windows as the library reads them, with its own transforms."""
    offsets = np.cumsum([0, *(len(window) for window in data.windows())]).astype(np.int32)
    path = str(Path(folder) / "train.parquet")
    pq.write_table(pa.table({_ITEM: pa.ListArray.from_arrays(offsets, codes_N.astype(np.int64))}), path)
    transforms = make_default_sasrec_transforms(schema(num_items, job["width"]))["train"]
    if job["trim"]:
        transforms.insert(2, TargetAwareAdaptiveTrimTransform([_ITEM, "positive_labels"]))
    if job["loss"] == "sampled":
        transforms.append(UniformNegativeSamplingTransform(num_items, job["negatives"]))
    return ParquetModule(
        job["batch_users"],
        {"train": {_ITEM: {"shape": data.length + 1, "padding": num_items}}},
        {"train": transforms},
        train_path=path,
    )


def evaluated(model: SasRec, data: Data, known: np.ndarray) -> float:
    """NDCG@10 with the weights of this moment."""

    def scores(histories: list[np.ndarray]) -> torch.Tensor:
        rows = left_padded(histories, data.length, len(known))
        return model(feature_tensors={_ITEM: rows}, padding_mask=rows != len(known))["logits"]

    return evaluate(model, data, known, 0, scores)


if __name__ == "__main__":
    main(train, ("replay-rec", "lightning"))
