"""BLEU and ROUGE of texts whose scores are known by the formula."""

import numpy as np
import pytest

pytest.importorskip("sacrebleu")
pytest.importorskip("rouge_score")

from ray_userrep.generative.wording import bleu, refuse_unmeasurable, rouge


def test_equal_texts_have_all_and_others_what_the_formula_says():
    refuse_unmeasurable()
    assert bleu(["the cat sat down here"], ["the cat sat down here"], 4) == pytest.approx(100)
    # 3 of 4 words and 2 of 3 pairs are there, and the text is not shorter: sqrt(3/4 * 2/3).
    assert bleu(["a b c d"], ["a b c e"], 2) == pytest.approx(100 * np.sqrt(0.5))
    found = rouge(["one two three four"], ["four two three"])
    assert found["rouge1"][0] == pytest.approx(100 * 2 * (1.0 * 0.75) / 1.75)
    assert found["rougeL"][0] == pytest.approx(100 * 2 * (2 / 3 * 0.5) / (2 / 3 + 0.5))
