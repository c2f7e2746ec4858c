"""Features and sentences of reviews, against a plain loop."""

import re

import numpy as np
import pyarrow as pa

from ray_userrep.generative.explanations import explained, learn_features

REVIEWS = [
    "I like it. The Battery is fine! A great battery.",
    "Nothing to say",
    None,
    "The screen? My screen broke.",
    "battery",
]


def test_features_are_the_words_that_most_reviews_have():
    assert learn_features([pa.array(REVIEWS[:2]), pa.array(REVIEWS[2:])])[0] == "battery"
    assert not {"the", "nothing", "say"} & {*learn_features([pa.array(REVIEWS)])}  # of every text, or too short


def test_the_first_sentence_with_a_feature_explains():
    features = ["screen", "battery"]
    found = zip(*(column.to_pylist() for column in explained(pa.array(REVIEWS), pa.array(features))), strict=True)
    for review, pair in zip(REVIEWS, found, strict=True):
        hits = [
            (word, sentence.strip())
            for sentence in re.split(r"[.!?\n]+", review or "")
            for word in re.split("[^a-z]+", sentence.lower())
            if word in features
        ]
        assert pair == (hits[0] if hits else (None, None))


def test_without_features_nothing_is_explained():
    assert explained(pa.array(["a b"]), pa.array([], pa.string()))[0].null_count == 1
    assert np.size(learn_features([])) == 0
