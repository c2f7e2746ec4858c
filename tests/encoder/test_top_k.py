"""The best of the whole catalogue, beside a sort of all scores."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from ray_userrep.encoder import top_k
from ray_userrep.encoder.top_k import best_items, most_alike
from ray_userrep.errors import UserError
from ray_userrep.evaluation.histories import Sequences
from ray_userrep.evaluation.ranking import encoder_scorer

HISTORIES = [["item-3", "item-1", "gone"], [], ["item-29"], [f"item-{i}" for i in range(25)]]


def known(history: list[str]) -> list[int]:
    return [int(item.removeprefix("item-")) for item in history if item != "gone"]


@pytest.mark.parametrize("chunk", [1, 50, 2**24])
def test_they_are_those_of_a_sort(monkeypatch, chunk):
    monkeypatch.setattr(top_k, "_CHUNK_SCORES", chunk)
    generator = torch.Generator().manual_seed(0)
    vectors, table = (torch.randn(n, 6, generator=generator) for n in (9, 20))
    hidden = (np.array([4, 0, 4]), np.array([1, 7, 19]))
    scores = (vectors @ table.T).numpy()
    scores[hidden] = -np.inf
    top = best_items(vectors, table, 5, hidden)
    np.testing.assert_array_equal(top.indices_BK, np.argsort(-scores, axis=1)[:, :5])
    np.testing.assert_allclose(top.scores_BK, -np.sort(-scores, axis=1)[:, :5], rtol=1e-6)


def test_the_nearest_are_those_of_the_greatest_cosines():
    table = torch.randn(12, 4, generator=torch.Generator().manual_seed(1))
    unit = (table / table.norm(dim=1, keepdim=True)).numpy()
    cosines = unit @ unit.T - 9 * np.eye(12)
    top = most_alike(table, np.array([3, 0]), 4)
    np.testing.assert_array_equal(top.indices_BK, np.argsort(-cosines[[3, 0]], axis=1)[:, :4])


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_recommended_items_are_those_that_evaluation_ranks_first(make_encoder, exclude_seen):
    encoder = make_encoder()
    found = encoder.recommend(HISTORIES, 10, exclude_seen=exclude_seen)
    indices = [known(history) for history in HISTORIES]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in indices])])
    items = np.concatenate(indices).astype(np.int64)
    scores = encoder_scorer(encoder)(Sequences(items, items * 0, offsets, np.arange(4))).numpy()
    for row, seen, got in zip(scores, indices, found.to_pylist(), strict=True):
        if exclude_seen:
            row[seen] = -np.inf
        best = [i for i in np.argsort(-row) if np.isfinite(row[i])][: 10 if seen else 0]
        assert got["items"] == [f"item-{i}" for i in best]
        np.testing.assert_allclose(got["scores"], row[best], rtol=1e-4, atol=1e-5)
    assert len(found["items"][3]) == (5 if exclude_seen else 10)  # of thirty items it has taken 25


def test_a_whole_history_is_ranked_by_its_newest_state(make_encoder):
    assert make_encoder(readout="whole").recommend(HISTORIES).equals(make_encoder().recommend(HISTORIES))


def test_what_cannot_be_answered_is_refused(make_encoder):
    encoder = make_encoder()
    for k in (0, 31, -1):
        with pytest.raises(UserError, match="k: takes 1 to 30"):
            encoder.recommend(HISTORIES, k)
    with pytest.raises(UserError, match="'gone' is not among the encoder's 30 items"):
        encoder.nearest_items(["item-1", "gone"])


def test_nearest_items_name_what_was_asked(make_encoder):
    found = make_encoder().nearest_items(["item-7", "item-2"], 3)
    assert found["item_id"].to_pylist() == ["item-7", "item-2"]
    assert [len(row) for row in found["items"].to_pylist()] == [3, 3]
    assert "item-7" not in found["items"][0].as_py()
    assert make_encoder().recommend([]).num_rows == 0 and pa.types.is_list(found["items"].type)
