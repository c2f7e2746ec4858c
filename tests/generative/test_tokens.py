"""Texts as tokens: what was written is read back, words are counted as by hand, and what is ambiguous is refused."""

import numpy as np
import pyarrow as pa
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from ray_userrep.errors import UserError
from ray_userrep.generative.tokens import END, PAD, UNKNOWN, Vocabulary, learn_vocabulary, refuse_ambiguous, with_whole

TEXTS = ["user_23 took item_7391 item_5 .", "what comes next for user_7 ?", "4.5 stars"]


def learned() -> Vocabulary:
    return learn_vocabulary(["item_0 user_0 took what comes next for stars . ?"] * 3, 300)


def words_by_hand(vocabulary: Vocabulary, text: str) -> list[int]:
    """The word of each token, by cutting words one by one: none changes how another is cut."""
    found = []
    for number, word in enumerate(text.split(), 1):
        tokens = vocabulary.encode(pa.array([word]), 99).ids_N[:-1]
        found += [number] * len(tokens)
    return [*found, 0]


@pytest.mark.parametrize("whole", [False, True])
def test_every_token_is_of_the_word_it_is_in(whole):
    names = pa.array(["item_5", "item_7391", "item_73"])
    vocabulary = with_whole(learned(), names) if whole else learned()
    encoded = vocabulary.encode(pa.array(TEXTS), 99)
    for text, low, high in zip(TEXTS, encoded.offsets_R1[:-1], encoded.offsets_R1[1:], strict=True):
        assert encoded.words_N[low:high].tolist() == words_by_hand(vocabulary, text)
    refuse_ambiguous(vocabulary, names)
    lengths = np.diff(vocabulary.encode(names, 99).offsets_R1)
    assert (lengths == 2).all() if whole else lengths.tolist() == [3, 6, 4]


def test_a_cut_text_keeps_its_end_and_its_words():
    vocabulary = learned()
    whole, cut = (vocabulary.encode(pa.array(TEXTS[:1]), most) for most in (99, 7))
    assert len(cut.ids_N) == 7 and cut.ids_N[-1] == vocabulary.end and cut.words_N[-1] == 0
    assert cut.ids_N[:6].tolist() == whole.ids_N[:6].tolist() and cut.words_N[:6].tolist() == whole.words_N[:6].tolist()


def test_texts_are_read_back():
    vocabulary = learned()
    encoded = vocabulary.encode(pa.array(TEXTS), 99)
    assert vocabulary.decode([part.tolist() for part in np.split(encoded.ids_N, encoded.offsets_R1[1:-1])]) == TEXTS


def test_a_vocabulary_that_cannot_tell_ids_apart_is_refused_by_name():
    words = {PAD: 0, END: 1, UNKNOWN: 2, "▁item_": 3, "1": 4, "▁": 5}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Digits(individual_digits=True)]
    )
    with pytest.raises(UserError, match=r"generative\.tokenizer: item_2 and item_3 have the same tokens|reads item_2"):
        refuse_ambiguous(Vocabulary(tokenizer), pa.array(["item_2", "item_3"]))
    with pytest.raises(UserError, match=r"generative\.tokenizer has no token </s>"):
        Vocabulary(Tokenizer(models.WordLevel({PAD: 0, UNKNOWN: 1}, unk_token=UNKNOWN)))
