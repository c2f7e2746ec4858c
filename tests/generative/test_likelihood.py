"""The loss against one row at a time, whatever rows are read together; words change it only where they are read."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ray_userrep.feed.batch import START, Batch
from ray_userrep.generative.likelihood import TextLikelihood
from ray_userrep.generative.model import TextModel, build_text_model
from ray_userrep.generative.rows import ANSWER, WORD
from ray_userrep.objectives.base import Draws
from tests.generative.conftest import small_text


class Tokens:
    """A vocabulary's sizes."""

    pad, end = 0, 1

    def __len__(self) -> int:
        return 50


def rows(num_rows: int) -> tuple[Batch, list[tuple[list[int], list[int], list[int]]]]:
    """A batch of rows of all lengths, and each as prompt, words and answer."""
    rng = np.random.default_rng(0)
    parts = []
    for _ in range(num_rows):
        source, answer = rng.integers(2, 50, rng.integers(1, 12)), rng.integers(2, 50, rng.integers(1, 5))
        parts.append((source.tolist(), np.sort(rng.integers(1, 4, len(source))).tolist(), answer.tolist()))
    batch = Batch.of([source + answer for source, _, answer in parts])
    batch.side[WORD] = torch.tensor([w for _, words, answer in parts for w in words + [ANSWER] * len(answer)])
    batch.labels[START] = torch.zeros(num_rows, dtype=torch.int64)
    return batch, parts


def model_of(**changes: object) -> TextModel:
    recipe = small_text(**changes)
    torch.manual_seed(0)
    return build_text_model(recipe.generative, recipe.stream, Tokens()).eval()


@pytest.mark.parametrize("num_rows", [1, 3, 23])
def test_the_loss_is_that_of_each_row_by_itself(num_rows):
    model, objective = model_of(), TextLikelihood()
    batch, parts = rows(num_rows)
    expected = 0.0
    for source, words, answer in parts:
        embedded = model.shared(torch.tensor([source])) + model.words(torch.tensor([words]))
        given = torch.tensor([[0, *answer[:-1]]])
        logits = model(inputs_embeds=embedded, decoder_input_ids=given).logits[0]
        expected += F.cross_entropy(logits, torch.tensor(answer)).item()
    views = objective.views(batch, Draws(0, 0, 0))
    assert float(objective.counts(views)) == num_rows
    np.testing.assert_allclose(objective(model, views).sums_P.tolist(), [expected], rtol=1e-5)


def test_words_are_read_where_the_recipe_says_so():
    objective, batch = TextLikelihood(), rows(9)[0]
    views = objective.views(batch, Draws(0, 0, 0))
    other = objective.views(batch, Draws(0, 0, 0))
    for view in other[::2]:
        view.side[WORD] += 1
    for whole_words in (True, False):
        model = model_of(**{"generative.whole_words": whole_words})
        ours, theirs = (float(objective(model, some).sums_P) for some in (views, other))
        assert (abs(ours - theirs) > 1e-4) == whole_words


def test_a_filler_counts_nothing():
    objective = TextLikelihood()
    batch = rows(5)[0]
    filler = Batch(batch.values_T, batch.offsets_B1, batch.users_B, batch.max_len, batch.side, batch.labels, weight=0.0)
    views = objective.views(filler, Draws(0, 0, 0))
    assert float(objective.counts(views)) == 0 and float(objective(model_of(), views).sums_P) == 0
