"""Items by their texts, so that a new item needs no training.

- `TextItems`: frozen text vectors through a trained projection.
- `WhitenedMoEItems`: frozen text vectors through a mixture of whitenings, for several domains at once. Each domain's
  texts have a centre and axes of their own; a gate that reads the text mixes the whitenings, and noise on it in
  training keeps all of them in use. It costs a product an expert where one projection costs one. The noise comes from
  the generator that every step seeds, as dropout does: a resumed run draws it again.
- `WordItems`: a small Transformer over the words, trained with everything else: the lower of two levels of text
  encoder, as in CLUE (Shin et al., AAAI 2023). What words mean is learned from logs, where text vectors keep what a
  language model knew. Words are hashed into a fixed number of rows instead of cut by a tokenizer: nothing is fitted,
  and two words now and then share a row. Each distinct item is encoded once a call. Those of windows trained on are
  found where these are read; which others are asked for, as targets or negatives, the host waits for the device to
  learn.

Shapes: V items, D width, E width of text vectors, F hidden width, G experts, U distinct items, L words of a text at
most, T words of all of them.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ray_userrep.corpus.features import words_of
from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.backbones.transformer import Transformer
from ray_userrep.encoder.items.base import ItemEmbedder, ItemFeatures, hashed_lists
from ray_userrep.encoder.layers import Dropout, Norm, ZeroLinear, in_training
from ray_userrep.encoder.readout import readout
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import Batch, WorksAhead
from ray_userrep.recipe.encoder import TransformerConfig, WordItemsConfig


class TextItems(ItemEmbedder):
    """A linear map of the text vector less a trained centre, and a small network beside it that starts at zero.

    Texts of one shop resemble each other; what they share says nothing, and the centre takes it off (the parametric
    whitening of UniSRec, Hou et al., KDD 2022, eq. 2).
    """

    def __init__(self, text_width: int, width: int, hidden: int) -> None:
        super().__init__()
        self._text_width = text_width  # ZeRO partitions a parameter as it is built, and it has no size of its own then
        self.centre = nn.Parameter(torch.zeros(text_width))
        self.weight = nn.Parameter(torch.randn(width, text_width) * width**-0.5)
        self.up = nn.Linear(text_width, hidden) if hidden else None
        self.down = ZeroLinear(hidden, width) if hidden else None

    def forward(self, ids: Tensor | None) -> Tensor:
        x = self._vectors.of(ids, self.weight.device).to(self.weight.dtype) - self.centre
        out = F.linear(x, self.weight)
        return out if self.up is None or self.down is None else out + self.down(F.gelu(self.up(x)))

    def attach(self, table: ItemTable) -> None:
        """Take the text vectors.

        Raises:
            UserError: the table has none, or of another width.
        """
        self._vectors = text_features(table, "text", self._text_width)


class TextFeatures:
    """The text vectors of a catalogue; an index of V more is the same item with words dropped from its text."""

    def __init__(self, table: ItemTable) -> None:
        self._num_items = len(table)
        stored = [vectors for vectors in (table.text_vectors(), table.reworded_vectors()) if vectors is not None]
        self._vectors = ItemFeatures(torch.from_numpy(np.concatenate(stored)))

    def of(self, ids: Tensor | None, device: torch.device) -> Tensor:
        """Vectors of the given indices, `[..., E]`; of the whole catalogue for None, `[V, E]`."""
        vectors = self._vectors.on(device)
        return vectors[: self._num_items] if ids is None else vectors[ids]


def text_features(table: ItemTable, kind: str, width: int) -> TextFeatures:
    """The text vectors that an embedder of this kind and width is attached to.

    Raises:
        UserError: the table has none, or of another width.
    """
    vectors = table.text_vectors()
    if vectors is None:
        raise UserError(f"encoder.items.kind {kind} needs text vectors: the item table has none")
    if vectors.shape[1] != width:
        raise UserError(f"text vectors are {vectors.shape[1]} wide, the encoder was trained on {width}")
    return TextFeatures(table)


_LEAST_NOISE = 0.01


class WhitenedMoEItems(ItemEmbedder):
    """Experts (x - b) W, mixed by a noisy softmax gate (UniSRec, Hou et al., KDD 2022)."""

    def __init__(self, text_width: int, width: int, num_experts: int, dropout: float) -> None:
        super().__init__()
        self._text_width = text_width
        self.centres = nn.Parameter(torch.zeros(num_experts, text_width))
        # The mean of so many independent maps of a text vector of length one has length one.
        self.weight = nn.Parameter(torch.randn(num_experts, width, text_width) * (num_experts / width) ** 0.5)
        self.gate, self.noise = ZeroLinear(text_width, num_experts), ZeroLinear(text_width, num_experts)
        self.dropout = Dropout(dropout)

    def forward(self, ids: Tensor | None) -> Tensor:
        x = self._vectors.of(ids, self.weight.device).to(self.weight.dtype)
        experts = zip(self.centres, self.weight, self._gates(x).unbind(-1), strict=True)
        # One expert at a time: all of them side by side would be as many catalogues in memory. Its centre goes through
        # the product once, not once an item: (x - b) W = x W - b W.
        parts = (
            share[..., None] * F.linear(self.dropout(x), weight, -weight @ centre) for centre, weight, share in experts
        )
        total = next(parts)
        for part in parts:
            total = total + part
        return total

    def _gates(self, x: Tensor) -> Tensor:
        """The share of each expert, `[..., G]`; noise only in training."""
        logits = self.gate(x)
        if in_training(self):
            logits = logits + torch.randn_like(logits) * (F.softplus(self.noise(x)) + _LEAST_NOISE)
        return logits.softmax(-1)

    def attach(self, table: ItemTable) -> None:
        """Take the text vectors.

        Raises:
            UserError: the table has none, or of another width.
        """
        self._vectors = text_features(table, "whitened_moe", self._text_width)


_PLACE = "place"  # label of texts: which of them is that of each item asked for


class WordItems(ItemEmbedder, WorksAhead):
    """The mean of the states of a text's words, of about length one; an item without text is all zeros."""

    def __init__(self, config: WordItemsConfig, width: int) -> None:
        super().__init__()
        self._num_rows, self._max_words = config.num_rows, config.max_words
        self.words = nn.Parameter(torch.randn(config.num_rows, width))
        layers = TransformerConfig(
            num_layers=config.num_layers, num_heads=config.num_heads, causal=False, dropout=config.dropout
        )
        self.transformer = Transformer(layers, width, config.max_words)
        self.norm = Norm(width, "rms")
        self._of_batch: Batch | None = None  # the texts of the windows whose items are asked for
        self._all: Batch | None = None  # those of the catalogue, once asked for

    def forward(self, ids: Tensor | None) -> Tensor:
        if ids is None:
            return self._encoded(self._catalogue())
        texts = self._of_batch or self._distinct(ids, self._words.on(self.words.device))
        assert self._of_batch is None or texts.labels[_PLACE].shape == ids.shape, "the texts of other windows"
        return self._encoded(texts)[texts.labels[_PLACE]]

    def ahead(self, batch: Batch) -> Batch:
        """The texts of the items of windows, each distinct one once; hidden items count as the first."""
        return self._distinct(batch.values_T.clamp(min=0), self._host_words_VL)

    @contextmanager
    def given(self, texts: Batch) -> Iterator[None]:
        """Inside, the items asked for are those whose texts were found ahead."""
        self._of_batch = texts
        try:
            yield
        finally:
            self._of_batch = None

    def attach(self, table: ItemTable) -> None:
        """Take the texts.

        Raises:
            UserError: the table has none.
        """
        texts = table.texts()
        if texts is None:
            raise UserError("encoder.items.kind words needs texts: the item table has none")
        self._host_words_VL = hashed_lists(words_of(pa.array(texts, pa.string())), self._num_rows, self._max_words)
        self._words = ItemFeatures(self._host_words_VL)
        self._all = None

    def _catalogue(self) -> Batch:
        if self._all is None or self._all.values_T.device != self.words.device:
            with torch.inference_mode(False):  # kept for passes with gradients as well
                self._all = self._texts(self._host_words_VL).to(self.words.device)
        return self._all

    def _distinct(self, ids: Tensor, words_VL: Tensor) -> Batch:
        distinct_U, place = torch.unique(ids, return_inverse=True)
        return replace(self._texts(words_VL[distinct_U]), labels={_PLACE: place})

    def _texts(self, words_UL: Tensor) -> Batch:
        known_UL = words_UL >= 0
        ends_U = known_UL.sum(1).cumsum(0)
        offsets_U1 = torch.cat([ends_U.new_zeros(1), ends_U]).int()
        numbers_U = torch.arange(len(words_UL), device=words_UL.device)
        return Batch(words_UL[known_UL], offsets_U1, numbers_U, self._max_words)

    def _encoded(self, texts: Batch) -> Tensor:
        states_TD = self.transformer(self.words[texts.values_T], texts)
        return self.norm(readout(states_TD, texts.offsets_B1, "mean")) * self.words.shape[1] ** -0.5


@contextmanager
def texts_of(batch: Batch) -> Iterator[None]:
    """Inside, items of words that are asked for are those of a batch, their texts found ahead where they were."""
    with ExitStack() as stack:
        for module, made in batch.ahead.items():
            if isinstance(module, WordItems):
                stack.enter_context(module.given(made))
        yield
