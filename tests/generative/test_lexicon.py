"""The lexicon of a run: learned once, read back, and what a log cannot give refused before."""

import numpy as np
import pytest

from ray_userrep import storage
from ray_userrep.errors import UserError
from ray_userrep.generative.lexicon import LEXICON, Lexicon, refuse_unanswerable
from tests.generative.conftest import PARTS, learn, small_text


@pytest.mark.parametrize("ids", ["sequence", "shuffled", "whole"])
def test_what_is_learned_is_read_back(reviews, tmp_path, ids):
    learned = learn(small_text(**{"generative.ids": ids}), reviews, tmp_path)
    read = Lexicon.load(storage.join(str(tmp_path), LEXICON))
    names = learned.names()
    assert len(set(names.to_pylist())) == 60 and names.to_pylist() == read.names().to_pylist()
    for one, other in zip(learned.vocabulary.encode(names, 50), read.vocabulary.encode(names, 50), strict=True):
        assert np.array_equal(one, other)
    assert read.ratings == [1.0, 2.0, 3.0, 4.0, 5.0] and {*PARTS} <= {*read.features}
    again = learn(small_text(**{"generative.ids": ids}), reviews, tmp_path)
    assert again.vocabulary.tokenizer.get_vocab() == read.vocabulary.tokenizer.get_vocab()


def test_more_answers_than_items_are_refused_by_name(reviews):
    refuse_unanswerable(small_text(), reviews)
    with pytest.raises(UserError, match=r"generative\.beams 61 is more than the 60 items of"):
        refuse_unanswerable(small_text(**{"generative.beams": 61}), reviews)


def test_a_file_that_is_no_tokenizer_is_refused_by_name(reviews, tmp_path):
    (tmp_path / "it.json").write_text("{}")
    with pytest.raises(UserError, match=r"generative\.tokenizer: .*it\.json is no tokenizer\.json"):
        learn(small_text(**{"generative.tokenizer": str(tmp_path / "it.json")}), reviews, tmp_path / "run")
