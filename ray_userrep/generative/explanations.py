"""A stand-in for pairs of a feature and a sentence that explains it, where no extracted ones are at hand.

A feature is a word that many reviews have, the explanation of a review its first sentence with such a word. Words are
not parsed, so that a feature may be no noun: figures on these pairs say whether sentences are learned, and are not to
be laid beside those on pairs that were extracted by sentiment (Zhang et al., SIGIR 2014).

Shapes: R reviews, S sentences, F features.
"""

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

_SENTENCE, _WORD = r"[.!?\n]+", r"[^a-z]+"
_SHORTEST, _NUM_FEATURES = 4, 200


def learn_features(reviews: Iterable[pa.Array]) -> list[str]:
    """The words that most reviews have, without those that every text has, the most frequent first."""
    counts: Counter[str] = Counter()
    for some in reviews:
        words, review_W = _words(some)
        pairs = pa.table({"word": words, "review": review_W}).group_by(["word", "review"]).aggregate([])
        for found in pc.value_counts(pairs["word"].combine_chunks()):
            counts[found["values"].as_py()] += found["counts"].as_py()
    fit = {word: n for word, n in counts.items() if len(word) >= _SHORTEST and word not in ENGLISH_STOP_WORDS}
    return sorted(fit, key=lambda word: (-fit[word], word))[:_NUM_FEATURES]


def explained(reviews: pa.Array, features: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The feature and the sentence of each review, null where there is none, `[R]` twice."""
    sentences = pc.split_pattern_regex(reviews.fill_null(""), _SENTENCE)
    texts_S, review_S = sentences.flatten(), pc.list_parent_indices(sentences).to_numpy()
    words, sentence_W = _words(texts_S)
    feature_W = pc.index_in(words, features)
    hits = np.flatnonzero(feature_W.is_valid().to_numpy(zero_copy_only=False))
    # Words lie in the order of their sentences, so that a review's first hit is in its first sentence with one.
    first, hit_R = np.unique(review_S[sentence_W[hits]], return_index=True)
    hit_R = hits[hit_R]
    place_R = np.full(len(reviews), -1)
    place_R[first] = np.arange(len(first))
    where = pa.array(place_R, mask=place_R < 0)
    told = pc.utf8_trim_whitespace(texts_S.take(pa.array(sentence_W[hit_R])))
    return features.take(feature_W.take(pa.array(hit_R))).take(where), told.take(where)


def _words(texts: pa.Array) -> tuple[pa.Array, NDArray[np.int64]]:
    """All words of texts, lower case, and the text that each is of."""
    words = pc.split_pattern_regex(pc.utf8_lower(texts.fill_null("")), _WORD)
    return words.flatten(), pc.list_parent_indices(words).to_numpy()
