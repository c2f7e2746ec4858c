"""The user encoder: item embedder, backbone and readout as one transformers model, with its item table beside it.

Being a `PreTrainedModel` gives saving, loading and hubs for free. The item table is no parameter: it is saved as
`items/` in the same folder and memory-mapped, so that raw item ids go in wherever the folder goes.

Shapes: T tokens, B users, V items, D width.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from ray_userrep import storage
from ray_userrep.corpus.batch import Batch
from ray_userrep.corpus.items import ItemTable
from ray_userrep.corpus.plan import ranges
from ray_userrep.encoder.card import model_card
from ray_userrep.encoder.config import EncoderConfig
from ray_userrep.encoder.items import IdItems
from ray_userrep.encoder.layers import Dropout
from ray_userrep.encoder.readout import readout
from ray_userrep.encoder.transformer import Transformer
from ray_userrep.errors import UserError

_ITEMS, _CARD = "items", "README.md"
transformers_logging.disable_progress_bar()  # a bar for one small file is noise in a job's output


class UserEncoderConfig(PreTrainedConfig):
    """The encoder's config tree, the size of its catalogue and the longest window, as transformers stores them."""

    model_type = "user_encoder"

    encoder: dict[str, Any] | None = None
    num_items: int = 0
    max_len: int = 64


class UserEncoder(PreTrainedModel):
    """From a user's interactions to a vector."""

    config_class = UserEncoderConfig
    base_model_prefix = "encoder"

    def __init__(self, config: UserEncoderConfig) -> None:
        super().__init__(config)
        parts = EncoderConfig.model_validate(config.encoder or {})
        self.width = parts.width
        self.max_len = config.max_len
        self.item_table: ItemTable | None = None
        self.items = IdItems(config.num_items, parts.width)
        self.dropout = Dropout(parts.items.dropout)
        self.backbone = Transformer(parts.backbone, parts.width, config.max_len)
        self._readout = parts.readout
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Nothing: every leaf drew its weights as it was built."""

    def states(self, batch: Batch) -> Tensor:
        """The state after each interaction, `[T, D]`; windows are at most `max_len` long."""
        assert batch.max_len <= self.max_len, f"a window of {batch.max_len} for an encoder of {self.max_len}"
        # Item vectors start with unit length, for the scores' sake; the residual stream wants unit variance.
        x_TD = self.items(batch.values_T) * self.width**0.5
        return self.backbone(self.dropout(x_TD), batch.offsets_B1, batch.max_len)

    def forward(self, batch: Batch) -> Tensor:
        """User vectors, `[B, D]`."""
        return readout(self.states(batch), batch.offsets_B1, self._readout)

    def encode(
        self,
        histories: pa.ListArray | Sequence[Sequence[Any]],
        unknown: Literal["skip", "error"] = "skip",
        batch_tokens: int = 16384,
    ) -> NDArray[np.float32]:
        """User vectors of raw item ids, newest last, `[B, D]`; only the newest `max_len` known items count.

        Unknown items are left out, or refused with `unknown="error"`; an empty history gives zeros. There is no
        dropout, whatever mode the encoder is in.

        Raises:
            UserError: an unknown item, where those are refused; ids of another type than the item table's; an encoder
                without its item table.
        """
        if self.item_table is None:
            raise UserError("this encoder has no item table: load it from the folder of a run, or set item_table")
        if not isinstance(histories, pa.Array):
            histories = _as_lists(histories, self.item_table.ids.type)
        indices_N = self.item_table.index_of(histories.flatten())
        if unknown == "error" and (indices_N < 0).any():
            first = histories.flatten()[int(np.argmax(indices_N < 0))].as_py()
            raise UserError(f"item {first!r} is not among the encoder's {len(self.item_table)} items")
        users_N = np.repeat(np.arange(len(histories)), histories.value_lengths().fill_null(0).to_numpy())
        known_N = indices_N >= 0
        return self._encode_indices(
            indices_N[known_N], np.bincount(users_N[known_N], minlength=len(histories)), batch_tokens
        )

    def _encode_indices(
        self, indices_N: NDArray[np.int64], lengths_B: NDArray[np.int64], batch_tokens: int
    ) -> NDArray[np.float32]:
        ends_B = np.cumsum(lengths_B)
        kept_B = np.minimum(lengths_B, self.max_len)
        vectors_BD = np.zeros((len(lengths_B), self.width), np.float32)
        order = np.argsort(kept_B, kind="stable")
        run = np.cumsum(kept_B[order]) // batch_tokens
        was_training = self.training
        self.eval()
        for rows in np.split(order, np.flatnonzero(np.diff(run)) + 1):
            offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(kept_B[rows])]).astype(np.int32))
            values = torch.from_numpy(indices_N[ranges(ends_B[rows] - kept_B[rows], kept_B[rows])])
            batch = Batch(values, offsets, torch.from_numpy(rows), int(kept_B[rows].max(initial=0)))
            with torch.inference_mode():
                vectors_BD[rows] = self(batch.to(self.device)).float().cpu().numpy()
        self.train(was_training)
        return vectors_BD

    def with_items(self, table: ItemTable) -> "UserEncoder":
        """A copy over another catalogue: shared ids keep their vectors, new ones get the mean vector."""
        if self.item_table is None:
            raise UserError("this encoder has no item table: its items cannot be told from the new ones")
        config = UserEncoderConfig(**(self.config.to_dict() | {"num_items": len(table)}))
        other = UserEncoder(config)
        state = self.state_dict()
        known = torch.from_numpy(self.item_table.index_of(table.ids))
        weight = state["items.weight"]
        state["items.weight"] = torch.where(known[:, None] >= 0, weight[known.clamp(min=0)], weight.mean(0))
        other.load_state_dict(state)
        other.item_table = table
        return other.to(weight.device, weight.dtype).train(self.training)

    def parameters_by_kind(self) -> dict[str, int]:
        """Numbers of parameters: item embedding and backbone."""
        return {"embedding": _count(self.items), "backbone": _count(self.backbone)}

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:  # type: ignore[override]
        """Write weights, config, item table and model card into a local folder."""
        super().save_pretrained(str(save_directory), **kwargs)
        if self.item_table is not None:
            self.item_table.save(Path(save_directory) / _ITEMS)
        (Path(save_directory) / _CARD).write_text(model_card(self.config, self.parameters_by_kind()))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "UserEncoder":  # type: ignore[override]
        """Load an encoder and its item table from a folder at any URI.

        Raises:
            UserError: the folder does not hold a whole encoder.
        """
        named = str(folder)
        if storage.is_local(named):
            return cls._from_folder(Path(storage.absolute(named)), named)
        with tempfile.TemporaryDirectory() as scratch:
            storage.download_dir(named, scratch)
            return cls._from_folder(Path(scratch), named)

    @classmethod
    def _from_folder(cls, path: Path, named: str) -> "UserEncoder":
        _check_folder(path, named)
        table = ItemTable.load(path / _ITEMS)
        try:
            loaded: Any = super().from_pretrained(str(path), output_loading_info=True, ignore_mismatched_sizes=True)
        except (OSError, RuntimeError, ValueError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"the encoder at {named} cannot be read: {reason}") from error
        encoder, info = loaded
        wrong = sorted({*info["missing_keys"], *info["unexpected_keys"], *(key for key, *_ in info["mismatched_keys"])})
        if wrong:
            raise UserError(f"the encoder at {named} is not whole: its weights and config.json disagree on {wrong[0]}")
        if len(table) != encoder.config.num_items:
            raise UserError(f"the encoder at {named} is not whole: items/ and config.json disagree on the catalogue")
        encoder.item_table = table
        return encoder.eval()


def _count(module: torch.nn.Module) -> int:
    # A parameter that ZeRO-3 partitions is empty between uses and keeps its real size beside it.
    return sum(getattr(parameter, "ds_numel", parameter.numel()) for parameter in module.parameters())


def _check_folder(path: Path, named: str) -> None:
    for name in ("config.json", "model.safetensors"):
        if not any(path.glob(f"{name}*")):  # a table beyond 50 GB is saved in parts, with an index
            raise UserError(f"no encoder at {named}: {name} is missing")
    try:
        kind = json.loads((path / "config.json").read_text()).get("model_type")
    except ValueError as error:
        raise UserError(f"the encoder at {named} cannot be read: config.json is not JSON ({error})") from error
    if kind != UserEncoderConfig.model_type:
        raise UserError(f"the model at {named} is a {kind!r}, not a {UserEncoderConfig.model_type!r}")


def _as_lists(histories: Sequence[Sequence[Any]], id_type: pa.DataType) -> pa.ListArray:
    try:
        return pa.array(histories, pa.list_(id_type))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise UserError(f"the encoder's item ids are {id_type}: {error}") from error


def build_encoder(config: EncoderConfig, table: ItemTable, max_len: int) -> UserEncoder:
    """A fresh encoder over an item table."""
    encoder = UserEncoder(UserEncoderConfig(encoder=config.model_dump(), num_items=len(table), max_len=max_len))
    encoder.item_table = table
    return encoder
