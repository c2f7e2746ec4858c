"""Answers along a trie: all valid, none twice, the likeliest first, and never one that is left out."""

import itertools

import numpy as np
import pytest
import torch

from ray_userrep.generative.decoding import NONE, Trie, generate, generate_names
from ray_userrep.generative.model import build_text_model
from ray_userrep.generative.tokens import Encoded
from tests.generative.conftest import small_text
from tests.generative.test_likelihood import Tokens

END = 1
NAMES = [[5, digit, END] for digit in range(10, 20)] + [[5, a, b, END] for a in range(10, 15) for b in range(10, 18)]


def prompts(num: int) -> Encoded:
    rng = np.random.default_rng(1)
    lengths = rng.integers(2, 9, num)
    ids_N = rng.integers(2, 50, lengths.sum())
    return Encoded(ids_N, np.ones(len(ids_N), np.int64), np.append(0, np.cumsum(lengths)))


@pytest.fixture(scope="module")
def model():
    recipe = small_text()
    torch.manual_seed(3)
    return build_text_model(recipe.generative, recipe.stream, Tokens()).eval()


def test_what_may_follow_is_what_leads_to_a_name_that_is_not_left_out():
    trie = Trie(NAMES)
    left_out = [[], [0, 3, *range(10, 18)], list(range(len(NAMES)))]
    allowed = trie.allowed(left_out, pad=0)
    for row, gone in enumerate(left_out):
        kept = [name for number, name in enumerate(NAMES) if number not in gone]
        for prefix in ([], [5], [5, 10], [5, 11], [5, 19], [5, 10, 12], [7]):
            expected = {name[len(prefix)] for name in kept if name[: len(prefix)] == prefix and len(name) > len(prefix)}
            found = allowed(row, torch.tensor([0, *prefix]))
            assert set(found) == (expected or {0})
    assert trie.name(NAMES[12]) == 12 and trie.name([5, 10]) == NONE


def test_twenty_names_are_distinct_valid_and_not_seen(model):
    seen = [[], [0, 1, 2], set(range(30))] * 3
    found = generate_names(model, prompts(9), Trie(NAMES), 20, seen)
    for row, gone in zip(found, seen, strict=True):
        assert len(set(row)) == 20 and row.min() >= 0 and not {*row} & {*gone}
    few = generate_names(model, prompts(2), Trie(NAMES), 20, [range(len(NAMES) - 4)] * 2)
    assert all({*row[:4]} == {*range(len(NAMES) - 4, len(NAMES))} and (row[4:] == NONE).all() for row in few)


def test_a_search_as_wide_as_the_names_ranks_them_by_likelihood(model):
    given, names = prompts(3), NAMES[:10]
    found = generate_names(model, given, Trie(names), 10)
    for row, (low, high) in zip(found, itertools.pairwise(given.offsets_R1), strict=True):
        ids, words = (torch.from_numpy(column[low:high])[None] for column in (given.ids_N, given.words_N))
        scores = []
        for name in names:
            with torch.inference_mode():
                logits = model(
                    inputs_embeds=model.embedded(ids, words), decoder_input_ids=torch.tensor([[0, *name[:-1]]])
                ).logits
            scores.append(float(logits[0].log_softmax(1)[torch.arange(len(name)), torch.tensor(name)].sum()))
        assert row.tolist() == np.argsort(-np.array(scores), kind="stable").tolist()


def test_words_are_told_in_generation(model):
    given = prompts(6)
    other = given._replace(words_N=given.words_N * 7)
    (ours, theirs) = (generate(model, one, 3, 6) for one in (given, other))
    assert ours != theirs and all(len(answers) == 3 for answers in ours)
