"""Texts as tokens: a vocabulary learned from a log's texts in which digits stand alone, and which word a token is of.

An id such as `item_7391` is then a few tokens whatever the catalogue's size; the price is that ids with digits in
common look alike until whole-word embeddings and training tell them apart. Texts are cut at spaces, and a token that
begins a word carries its mark, so that words are counted without looking at the text again.

Shapes: R texts, N tokens of all of them, V items.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from ray_userrep.errors import UserError

PAD, END, UNKNOWN = "<pad>", "</s>", "<unk>"
_BEGIN = "▁"


class Encoded(NamedTuple):
    """Texts as tokens end to end, each with the number of its word in its text, from 1; the end of a text has none."""

    ids_N: NDArray[np.int64]
    words_N: NDArray[np.int64]
    offsets_R1: NDArray[np.int64]


class Vocabulary:
    """A tokenizer that ends every text, and knows which tokens begin a word."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Take a tokenizer as it is.

        Raises:
            UserError: it has no token for padding, the end of a text or what is unknown.
        """
        missing = next((one for one in (PAD, END, UNKNOWN) if tokenizer.token_to_id(one) is None), None)
        if missing is not None:
            raise UserError(f"generative.tokenizer has no token {missing}: take one that has, or none")
        self.tokenizer = tokenizer
        self.pad, self.end, self.unknown = (tokenizer.token_to_id(one) for one in (PAD, END, UNKNOWN))
        tokenizer.no_padding()
        tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, self.end)])
        added = tokenizer.get_added_tokens_decoder()
        names = {number: name for name, number in tokenizer.get_vocab().items()}
        self._begins = np.zeros(max(names) + 1, np.int64)
        for number, name in names.items():
            self._begins[number] = name.startswith(_BEGIN) or (number in added and not added[number].special)

    def __len__(self) -> int:
        return len(self._begins)

    def encode(self, texts: pa.Array, max_tokens: int) -> Encoded:
        """Texts cut to so many tokens, the end among them."""
        self.tokenizer.enable_truncation(max_tokens)
        found = [one.ids for one in self.tokenizer.encode_batch_fast(texts.to_pylist())]
        lengths_R = np.fromiter(map(len, found), np.int64, len(found))
        offsets_R1 = np.append(0, np.cumsum(lengths_R))
        ids_N = np.fromiter(chain.from_iterable(found), np.int64, int(offsets_R1[-1]))
        return Encoded(ids_N, self._words(ids_N, offsets_R1), offsets_R1)

    def decode(self, texts: list[list[int]]) -> list[str]:
        """Texts of tokens, without the special ones."""
        return [text.strip() for text in self.tokenizer.decode_batch(texts)]

    def _words(self, ids_N: NDArray[np.int64], offsets_R1: NDArray[np.int64]) -> NDArray[np.int64]:
        begun_N = np.cumsum(self._begins[ids_N])
        before_R = np.append(0, begun_N)[offsets_R1[:-1]]
        words_N = begun_N - np.repeat(before_R, np.diff(offsets_R1))
        words_N[(ids_N == self.end) | (ids_N == self.pad)] = 0
        return words_N


def learn_vocabulary(texts: Iterable[str], size: int) -> Vocabulary:
    """Byte pairs of words cut at spaces, digits apart, learned from texts (Sennrich et al., ACL 2016)."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Digits(individual_digits=True)]
    )
    tokenizer.decoder = decoders.Metaspace()
    alphabet = [_BEGIN, *"0123456789_"]
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=[PAD, END, UNKNOWN], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return Vocabulary(tokenizer)


def with_whole(vocabulary: Vocabulary, names: pa.Array) -> Vocabulary:
    """The vocabulary with a token for each of these names."""
    tokens = [AddedToken(name, lstrip=True, normalized=False) for name in names.to_pylist()]
    vocabulary.tokenizer.add_tokens(tokens)
    return Vocabulary(vocabulary.tokenizer)


def refuse_ambiguous(vocabulary: Vocabulary, names: pa.Array) -> None:
    """Refuse a vocabulary in which a name cannot be told from another, or is not read back as it was written.

    Raises:
        UserError: it is one; the message names the names.
    """
    encoded = vocabulary.encode(names, 512)
    seen: dict[tuple[int, ...], str] = {}
    rows = list(_rows(encoded))
    for name, row, again in zip(names.to_pylist(), rows, vocabulary.decode([list(r) for r in rows]), strict=True):
        other = seen.setdefault(row, name)
        if other != name:
            raise UserError(f"generative.tokenizer: {other} and {name} have the same tokens: take one that has digits")
        if again != name or vocabulary.unknown in row:
            raise UserError(f"generative.tokenizer reads {name} back as {again!r}: take one that has its characters")


def _rows(encoded: Encoded) -> Iterator[tuple[int, ...]]:
    for low, high in zip(encoded.offsets_R1[:-1], encoded.offsets_R1[1:], strict=True):
        yield tuple(encoded.ids_N[low:high].tolist())
