"""The user encoder: item embedder, backbone and readout as one transformers model, with its item table beside it.

Being a `PreTrainedModel` gives saving, loading and hubs for free. The item table is no parameter: it is saved as
`items/` in the same folder and memory-mapped, so that raw item ids go in wherever the folder goes.

Shapes: T tokens, B users, V items, D width, F numbers of a user vector, E of a bag, S of what is remembered of a user.
"""

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import CommitInfo
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, AutoModel, PreTrainedConfig
from transformers.utils import logging as transformers_logging

from ray_userrep import storage
from ray_userrep.corpus.graph import UserItemGraph
from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.backbones.build import build_backbone
from ray_userrep.encoder.backbones.gnn import GNN
from ray_userrep.encoder.bag import Bag, scaled_bag
from ray_userrep.encoder.bundles import Bundles, bundling_of, single_rows
from ray_userrep.encoder.card import CARD, Told, model_card, named_as, told_of
from ray_userrep.encoder.exporting import exported, refuse_unlike_graphs
from ray_userrep.encoder.fields import Context
from ray_userrep.encoder.folder import (
    FORMAT,
    MODEL_TYPE,
    check_folder,
    move_into,
    own_folder,
    weights_sums,
    write_checksums,
)
from ray_userrep.encoder.graph import Neighbourhoods
from ray_userrep.encoder.hub import from_hub, to_hub
from ray_userrep.encoder.items.base import UnitItems
from ray_userrep.encoder.items.build import build_items
from ray_userrep.encoder.items.rows import row_tables
from ray_userrep.encoder.items.text import texts_of
from ray_userrep.encoder.layers import Dropout, SpecialTokens
from ray_userrep.encoder.profile import Profile, behind_profile
from ray_userrep.encoder.reading import reads
from ray_userrep.encoder.readout import APPENDED, Attention, append_token, readout, readout_so_far, window_sums
from ray_userrep.encoder.serving import Serving
from ray_userrep.encoder.tempo import Moments, Tempo, tempo_states
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import DRAW, TIMESTAMPS, Batch
from ray_userrep.recipe.encoder import POOLED, TEMPO_WIDTH, WHOLE_HISTORY, EncoderConfig, GNNConfig, ReadoutKind

_ITEMS, _GRAPH = "items", "graph"
_OF_AUTO_MODEL = {"config", "trust_remote_code", "adapter_kwargs"}
transformers_logging.disable_progress_bar()  # a bar for one small file is noise in a job's output


class UserEncoderConfig(PreTrainedConfig):
    """The encoder's config tree, its catalogue's sizes and the longest window, as transformers stores them."""

    model_type = MODEL_TYPE

    format: int = FORMAT
    encoder: dict[str, Any] | None = None
    num_items: int = 0
    text_width: int = 0
    max_len: int = 64
    hides_items: bool = False  # whether it was trained with some items hidden, and has a vector for those
    readout: ReadoutKind | None = None  # where users are read out, if not where the encoder was built to be


class UserEncoder(Serving):
    """From a user's interactions to a vector."""

    config_class = UserEncoderConfig
    base_model_prefix = "encoder"

    def __init__(self, config: UserEncoderConfig, table: ItemTable | None = None) -> None:
        super().__init__(config)
        parts = EncoderConfig.model_validate(config.encoder or {})
        self.width = parts.width
        self.max_len = config.max_len
        self.readout: ReadoutKind = config.readout or parts.readout
        self._item_table: ItemTable | None = None
        self._around: Neighbourhoods | None = None
        self._told: Told | None = None
        self._made: dict[int, tuple[Tensor, Tensor]] | None = None
        appended = parts.readout in APPENDED
        items = build_items(parts.items, config.num_items, parts.width, config.text_width, table)
        self.items = UnitItems(items) if parts.unit_items else items
        self.special = SpecialTokens(parts.width) if appended or config.hides_items else None
        self._reads = reads(parts)
        self.context = Context(parts.context, parts.width) if parts.context else None
        bundling = bundling_of(parts)
        self.bundles = Bundles(bundling, parts.width) if bundling is not None else None
        self.profile = Profile(parts.profile, parts.width) if parts.profile else None
        self.dropout = Dropout(parts.dropout)
        longest = config.max_len + appended + len(parts.profile)
        self.backbone = build_backbone(parts.backbone, parts.width, longest)
        self.attention = Attention(parts.width) if parts.readout == "attention" else None
        self._bag_kept = min(parts.bag_kept, parts.bag_width)
        counts_V = None if table is None else table.counts()
        has_bag = parts.bag_width > 0
        self.bag = Bag(config.num_items, parts.bag_width, self._bag_kept, counts_V) if has_bag else None
        self.tempo = Tempo() if parts.tempo else None
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Nothing: every leaf drew its weights as it was built."""

    @property
    def item_table(self) -> ItemTable | None:
        """The catalogue: ids, and what item embedders want to know of each item."""
        return self._item_table

    @item_table.setter
    def item_table(self, table: ItemTable) -> None:
        self._item_table = table
        self.items.attach(table)

    @property
    def graph(self) -> UserItemGraph | None:
        """The users and items that a backbone of kind gnn looks into; None for others."""
        return None if self._around is None else self._around.graph

    @graph.setter
    def graph(self, graph: UserItemGraph | None) -> None:
        backbone = EncoderConfig.model_validate(self.config.encoder).backbone
        assert isinstance(backbone, GNNConfig) == (graph is not None), "a graph is for a backbone that reads one"
        if isinstance(backbone, GNNConfig) and graph is not None:
            self._around = Neighbourhoods(graph, backbone.num_neighbours)

    def states(self, batch: Batch) -> Tensor:
        """The state after each interaction, or of its bundle, `[T, D]`.

        Windows are at most `max_len` long beside a token at the end.
        """
        states_TD, _ = self.states_apart(batch)
        return states_TD

    def states_apart(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What `states` gives, and the states of the attributes of each window's user, `[B, A, D]`."""
        if self._made is None:
            return self._states_apart(batch)
        if batch.num_tokens not in self._made:
            self._made[batch.num_tokens] = self._states_apart(batch)
        return self._made[batch.num_tokens]

    @contextmanager
    def states_once(self) -> Iterator[None]:
        """Inside, states are made once for as many tokens: of the same windows, with a token at the end or without."""
        self._made = {}
        try:
            yield
        finally:
            self._made = None

    def _states_apart(self, batch: Batch) -> tuple[Tensor, Tensor]:
        longest = self.max_len + (self.readout in APPENDED)
        assert batch.max_len <= longest, f"a window of {batch.max_len} for an encoder of {longest}"
        none_BAD = torch.zeros(batch.num_users, 0, self.width, device=batch.values_T.device)
        if self.backbone.separates_context and self.context is not None:
            x_TD, context_TD = self.dropout(self._scaled_items(batch)), self.dropout(self.context(batch))
            return self.backbone(x_TD, batch, context_TD), none_BAD
        if isinstance(self.backbone, GNN):
            around = self._neighbourhoods().of_windows(batch)
            x_TD, x_TSSD = self.dropout(self.inputs(batch)), self.dropout(self._scaled(around.items_TSS))
            return self.backbone(x_TD, batch, around, x_TSSD), none_BAD
        if self.bundles is None and self.profile is None:
            return self.backbone(self.dropout(self.inputs(batch)), batch), none_BAD
        rows = (self.bundles or single_rows)(self.inputs(batch), batch)
        if self.profile is None:
            return self.backbone(self.dropout(rows.x_KD), rows.windows)[rows.row_T], none_BAD
        rows, place_BA = behind_profile(rows, self.profile(batch))
        states_RD = self.backbone(self.dropout(rows.x_KD), rows.windows)
        return states_RD[rows.row_T], states_RD[place_BA]

    def inputs(self, batch: Batch) -> Tensor:
        """What a backbone that takes items and context together is given, before dropout, `[T, D]`."""
        x_TD = self._scaled_items(batch)
        return x_TD if self.context is None else x_TD + self.context(batch)

    def item_states(self, items_B: Tensor, batch: Batch) -> Tensor:
        """An item for each window as its users tell of it, by a backbone of kind gnn, `[B, D]`."""
        assert isinstance(self.backbone, GNN), "checked where the objective is set"
        around = self._neighbourhoods().of_items(items_B, batch.labels.get(DRAW))
        return self.backbone.items(around, self.dropout(self._scaled(around.items_TSS)))

    def _neighbourhoods(self) -> Neighbourhoods:
        assert self._around is not None, "the graph is set where an encoder is built or loaded"
        return self._around

    def _scaled_items(self, batch: Batch) -> Tensor:
        with texts_of(batch):
            return self._scaled(batch.values_T)

    def _scaled(self, values: Tensor) -> Tensor:
        # Item vectors start with unit length, for the scores' sake; the residual stream wants unit variance.
        return self._vectors(values) * self.width**0.5

    def _vectors(self, values: Tensor) -> Tensor:
        if self.special is None:
            return self.items(values)
        return torch.where(values[..., None] < 0, self.special(values), self.items(values.clamp(min=0)))

    def forward(self, batch: Batch, until: Moments | None = None) -> Tensor:
        """User vectors of windows, `[B, F]`; those of whole histories are `encoder.histories.user_vectors`."""
        if self.readout == "bag":
            return self.scaled(self._remembered(batch), until)
        if self.readout in APPENDED:
            batch = append_token(batch, APPENDED[self.readout])
        return self.pooled(batch)

    @property
    def vector_width(self) -> int:
        """How many numbers a user vector has, F."""
        if self.readout == "bag":
            return self._bag_kept + TEMPO_WIDTH * (self.tempo is not None)
        return self.width

    def learned(self, batch: Batch) -> Tensor:
        """What an objective asks of the user vectors of windows: those of a bag as wide as it learns, `[B, E]`."""
        vectors_BE: Tensor = scaled_bag(self.sums(batch)) if self.readout == "bag" else self(batch)
        return vectors_BE

    def sums(self, batch: Batch) -> Tensor:
        """What each window adds to the vector of a whole history, and last to what divides it, `[B, E + 1]`."""
        if self.readout == "bag":
            assert self.bag is not None, "checked where the readout is set"
            sums_BE1: Tensor = self.bag(batch)
            return sums_BE1
        sums_BD, lengths_B1 = window_sums(self.states(batch), batch.offsets_B1), batch.lengths()[:, None]
        return torch.cat([sums_BD, lengths_B1.to(sums_BD)], 1)

    def _remembered(self, batch: Batch) -> Tensor:
        """What `encoder.histories.history_sums` makes, of histories of one window, `[B, S]`."""
        sums_BE1 = self.sums(batch)
        if self.tempo is None:
            return sums_BE1
        return torch.cat([sums_BE1, tempo_states(batch.side[TIMESTAMPS], batch.offsets_B1)], 1)

    def scaled(self, sums_BS: Tensor, until: Moments | None = None) -> Tensor:
        """The vectors of whole histories from what is remembered of them, `[B, F]`."""
        if self.readout != "bag":
            return sums_BS[:, :-1] / sums_BS[:, -1:].clamp(min=1)
        assert self.bag is not None, "checked where the readout is set"
        bags_BE1, states_BS = sums_BS.tensor_split([self.bag.width + 1], dim=1)
        vectors_BF: Tensor = self.bag.map(scaled_bag(bags_BE1))
        return vectors_BF if self.tempo is None else torch.cat([vectors_BF, self.tempo(states_BS, until)], 1)

    def ranking(self, batch: Batch) -> Tensor:
        """What scores the items as each user's next, by its products with their vectors, `[B, D]`."""
        is_pooled = self.readout in POOLED and self.backbone.causal
        if self.readout in WHOLE_HISTORY or is_pooled:
            return readout(self.states(batch), batch.offsets_B1, "last")
        vectors_BD: Tensor = self(batch)
        return vectors_BD

    def pooled(self, batch: Batch) -> Tensor:
        """User vectors of windows that hold the token read out already, where there is one, `[B, D]`."""
        return readout(self.states(batch), batch.offsets_B1, self.readout, self.attention)

    def vectors_so_far(self, batch: Batch) -> Tensor:
        """The user vector at each place as if it were the newest, behind a causal backbone, `[T, D]`."""
        return readout_so_far(self.states(batch), batch, self.readout, self.attention)

    def read_at(self, kind: ReadoutKind) -> None:
        """Read users out at another place from now on, and where it is saved.

        Raises:
            UserError: the place is a token that the encoder has no vector for, or a bag or attention that it lacks.
        """
        if kind == "attention" and self.attention is None:
            raise UserError("this encoder was built without attention (encoder.readout): take last, mean, max or whole")
        if kind == "bag" and self.bag is None:
            raise UserError("this encoder was built without a bag (encoder.bag_width): take last, mean or whole")
        if kind in APPENDED and kind != EncoderConfig.model_validate(self.config.encoder).readout:
            raise UserError(f"this encoder was not built to be read out at {kind}: take last or mean")
        self.readout = self.config.readout = kind

    @property
    def side_columns(self) -> tuple[str, ...]:
        """The stored columns beside items and times that the encoder reads."""
        return self._reads.side

    @property
    def reads_times(self) -> bool:
        """Whether the encoder reads when interactions were."""
        return self._reads.times_for is not None

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes of users that the encoder reads."""
        return self._reads.profile

    def known(self, table: ItemTable) -> NDArray[np.int64]:
        """Where this encoder's catalogue has each item of another, -1 where nowhere, `[V]`.

        Where items are made from texts alone none need be known: ids of another type are those of other items.

        Raises:
            UserError: the encoder has no item table; or the ids are of another type, and vectors go by them.
        """
        if self.item_table is None:
            raise UserError("this encoder has no item table: its items cannot be told from the new ones")
        is_inductive = EncoderConfig.model_validate(self.config.encoder).is_inductive()
        if is_inductive and not self.item_table.has_ids_like(table.ids):
            return np.full(len(table), -1, np.int64)
        return self.item_table.index_of(table.ids)

    def with_items(self, table: ItemTable) -> "UserEncoder":
        """A copy over another catalogue: shared ids keep their vectors, new ones get the mean vector."""
        known_V = self.known(table)
        other = UserEncoder(UserEncoderConfig(**(self.config.to_dict() | {"num_items": len(table)})))
        other.item_table = table
        index_V = torch.from_numpy(known_V).to(self.device)
        other.to(device=self.device, dtype=self.dtype)  # type: ignore[call-arg]
        other.items.inherit(self.items, index_V)
        other.graph = None if self.graph is None else self.graph.over(known_V)
        if self.bag is not None and other.bag is not None:
            other.bag.items.inherit(self.bag.items, index_V)
        own = ("items.", "bag.items.")
        rest = {name: value for name, value in self.state_dict().items() if not name.startswith(own)}
        other.load_state_dict({name: v for name, v in other.state_dict().items() if name.startswith(own)} | rest)
        return other.train(self.training)

    def parameters_by_kind(self) -> dict[str, int]:
        """Numbers of parameters: what turns interactions into vectors, and the backbone."""
        backbone = _count(self.backbone)
        return {"embedding": _count(self) - backbone, "backbone": backbone}

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:  # type: ignore[override]
        """Write weights, config, item table and model card into a local folder; it may be the one they were read from.

        Raises:
            UserError: it is no local folder, or the hub is meant.
        """
        named = str(save_directory)
        if kwargs.pop("push_to_hub", False):
            raise UserError('save_pretrained writes local folders: for the hub call push_to_hub("org/name")')
        if not storage.is_local(named):
            raise UserError(f"save_pretrained writes local folders (given {named}): save there, and copy the folder")
        folder = Path(storage.absolute(named))
        if folder.exists() and not folder.is_dir():
            raise UserError(f"save_pretrained: {named} is a file, not a folder")
        folder.mkdir(parents=True, exist_ok=True)
        # Nothing that is there is touched before all is written: the disk may be full, or tables be mapped from it.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as scratch:
            super().save_pretrained(scratch, **kwargs)
            if self.item_table is not None:
                self.item_table.save(Path(scratch) / _ITEMS)
            if self.graph is not None:
                self.graph.save(Path(scratch) / _GRAPH)
            (Path(scratch) / CARD).write_text(model_card(self.config, self.parameters_by_kind()))
            write_checksums(Path(scratch))
            move_into(Path(scratch), folder)

    def export(self, path: str | Path) -> None:
        """Write a graph of torch that makes vectors of windows without this library; `torch.export.load` reads it.

        It takes rows of the item table, of all histories end to end (int64, `[T]`), and how many each has, from 1 to
        `max_len` (`[B]`; any number at a bag); then times (us, `[T]`) and the moment (us), where the encoder reads
        them; and gives user vectors, `[B, F]`.

        Raises:
            UserError: the encoder goes on from step to step, or reads more than items and times.
        """
        refuse_unlike_graphs(EncoderConfig.model_validate(self.config.encoder), self.readout, self._reads)
        program, buffer = exported(self, self.max_len, self.readout, self._reads, self.tempo is not None), io.BytesIO()
        torch.export.save(program, buffer)
        storage.write_bytes(str(path), buffer.getvalue())

    def push_to_hub(  # type: ignore[override]
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        commit_message: str = "Upload encoder",
        revision: str | None = None,
        token: str | bool | None = None,
        create_pr: bool = False,
    ) -> CommitInfo:
        """Write weights, config, item table and model card into a repository of the Hugging Face hub, `org/name`.

        The card is the `README.md` of the folder that the encoder was loaded from, as it is there, while the weights
        are those of it; else a new one. What the repository held before stays in its history.

        Raises:
            UserError: the encoder has no item table, or the hub refuses.
        """
        self._table()
        with tempfile.TemporaryDirectory() as scratch:
            self.save_pretrained(scratch)
            place = Path(scratch) / CARD
            if self._told is not None and self._told.weights == weights_sums(Path(scratch)):
                place.write_text(self._told.card)
            place.write_text(named_as(place.read_text(), repo_id))
            return to_hub(scratch, repo_id, private, commit_message, revision, token, create_pr)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls,
        folder: str | Path,
        *,
        dtype: torch.dtype | None = None,
        device_map: str | torch.device | None = None,
        revision: str | None = None,
        **options: object,
    ) -> "UserEncoder":
        """Load an encoder and its item table: from its folder or its run's, at any URI, or from the hub by `org/name`.

        It goes to one device. Other options of transformers are refused, but for those that AutoModel always gives.

        Raises:
            UserError: the folder does not hold a whole encoder; or other options are given.
        """
        if options.keys() - _OF_AUTO_MODEL:
            raise UserError(
                f"UserEncoder.from_pretrained takes folder, dtype, device_map and revision, not {', '.join(options)}"
            )
        named = own_folder(from_hub(str(folder), revision))
        if storage.is_local(named):
            encoder = cls._from_folder(Path(storage.absolute(named)), named)
        else:
            with tempfile.TemporaryDirectory() as scratch:
                storage.download_dir(named, scratch)
                encoder = cls._from_folder(Path(scratch), named)
        accelerator = torch.accelerator.current_accelerator(check_available=True) or "cpu"
        encoder.to(device=accelerator if device_map == "auto" else device_map, dtype=dtype)  # type: ignore[call-arg]
        return encoder

    @classmethod
    def _from_folder(cls, path: Path, named: str) -> "UserEncoder":
        check_folder(path, named)
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
        encoder.graph = UserItemGraph.load(path / _GRAPH) if isinstance(encoder.backbone, GNN) else None
        encoder._told = told_of(path, weights_sums(path))
        return encoder.eval()


def _count(module: torch.nn.Module) -> int:
    # A parameter that ZeRO-3 partitions is empty between uses and keeps its real size beside it.
    weights = sum(getattr(weight, "ds_numel", weight.numel()) for weight in module.parameters())
    return weights + sum(table.size for table in row_tables(module))


def build_encoder(
    config: EncoderConfig,
    table: ItemTable,
    max_len: int,
    hides_items: bool = False,
    graph: UserItemGraph | None = None,
) -> UserEncoder:
    """A fresh encoder over an item table, and a graph where its backbone reads one.

    `hides_items` where it will be shown windows with hidden items.

    Raises:
        UserError: the table lacks what the item embedder is made from.
    """
    vectors = table.text_vectors() if config.needs_text() else None
    stored = UserEncoderConfig(
        encoder=config.model_dump(mode="json"),
        num_items=len(table),
        text_width=0 if vectors is None else vectors.shape[1],
        max_len=max_len,
        hides_items=hides_items,
    )
    encoder = UserEncoder(stored, table)
    encoder.item_table, encoder.graph = table, graph
    return encoder


AutoConfig.register(MODEL_TYPE, UserEncoderConfig)
AutoModel.register(UserEncoderConfig, UserEncoder)
