"""Items by a small Transformer over the words of their texts, trained with everything else.

The lower of two levels of text encoder, as in CLUE (Shin et al., AAAI 2023): what the words of a text mean is learned
from logs, where stored text vectors keep what a language model knew. Words are hashed into a fixed number of rows
instead of cut by a tokenizer: nothing is fitted, new texts need nothing, and two words now and then share a row. Each
distinct item of a batch is encoded once, for which the host waits for the device once a call.

Shapes: V items, U distinct items, L words of a text at most, T words of all of them, D width.
"""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor, nn

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.backbones.transformer import Transformer
from ray_userrep.encoder.items.base import ItemEmbedder, ItemFeatures, hashed_lists
from ray_userrep.encoder.layers import Norm
from ray_userrep.encoder.readout import readout
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import Batch
from ray_userrep.recipe.encoder import TransformerConfig, WordItemsConfig

_NO_WORD = r"[^\p{L}\p{N}]+"


class WordItems(ItemEmbedder):
    """The mean of the states of a text's words, of about length one; an item without text is all zeros."""

    def __init__(self, config: WordItemsConfig, width: int) -> None:
        super().__init__()
        self._max_words = config.max_words
        self.words = nn.Parameter(torch.randn(config.num_rows, width))
        layers = TransformerConfig(
            num_layers=config.num_layers, num_heads=config.num_heads, causal=False, dropout=config.dropout
        )
        self.transformer = Transformer(layers, width, config.max_words)
        self.norm = Norm(width, "rms")

    def forward(self, ids: Tensor | None) -> Tensor:
        words_VL = self._words.on(self.words.device)
        if ids is None:
            return self._encoded(words_VL)
        distinct_U, place = torch.unique(ids, return_inverse=True)
        return self._encoded(words_VL[distinct_U])[place]

    def attach(self, table: ItemTable) -> None:
        """Take the texts.

        Raises:
            UserError: the table has none.
        """
        texts = table.texts()
        if texts is None:
            raise UserError("encoder.items.kind words needs texts: the item table has none")
        self._words = ItemFeatures(hashed_lists(_words_of(texts), len(self.words), self._max_words))

    def _encoded(self, words_UL: Tensor) -> Tensor:
        known_UL = words_UL >= 0
        ends_U = known_UL.sum(1).cumsum(0)
        offsets_U1 = torch.cat([ends_U.new_zeros(1), ends_U]).int()
        words_T = words_UL[known_UL]
        batch = Batch(words_T, offsets_U1, torch.arange(len(words_UL), device=words_UL.device), self._max_words)
        states_TD = self.transformer(self.words[words_T], batch)
        return self.norm(readout(states_TD, offsets_U1, "mean")) * self.words.shape[1] ** -0.5


def _words_of(texts: Sequence[str | None]) -> pa.ListArray:
    """The words of each text in small letters, without punctuation; null where there are none."""
    plain = pc.replace_substring_regex(pc.utf8_lower(pa.array(texts, pa.string())), _NO_WORD, " ")
    plain = pc.utf8_trim_whitespace(plain)
    return pc.split_pattern(pc.if_else(pc.not_equal(plain, ""), plain, None), " ")
