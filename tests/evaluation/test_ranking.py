"""Ranks against a stable sort of every row, metrics against an independent library, an encoder's scores by raw ids."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import ir_measures
import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import RR, Qrel, ScoredDoc, Success, nDCG

from ray_userrep.corpus.items import ItemTable
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.errors import UserError
from ray_userrep.evaluation import ranking
from ray_userrep.evaluation.histories import Histories
from ray_userrep.evaluation.metrics import per_user
from ray_userrep.evaluation.ranking import Share, encoder_scorer, ranks
from ray_userrep.recipe.encoder import EncoderConfig

NUM_ITEMS = 23


def slow_rank(scores, target, seen, exclude_seen):
    """Sort all items by falling score, equal ones by index, and look the target up."""
    items = [i for i in range(len(scores)) if i == target or not (exclude_seen and i in seen)]
    return sorted(items, key=lambda i: (-scores[i], i)).index(target) + 1


@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize("levels", [3, 10**6])
def test_ranks_are_those_of_a_stable_sort(random_histories, monkeypatch, exclude_seen, levels):
    for name, value in (("_CHUNK_SCORES", 5 * NUM_ITEMS), ("_LEAST_USERS", 1), ("_BLOCK_SCORES", 40)):
        monkeypatch.setattr(ranking, name, value)  # several chunks and blocks, the last ones smaller
    histories = random_histories(32, NUM_ITEMS)
    table = np.random.default_rng(1).integers(0, levels, (32, NUM_ITEMS)).astype(np.float32)
    row_of = {user: row for row, user in enumerate(histories.users_U)}
    scorer = lambda part: torch.from_numpy(table[[row_of[u] for u in part.users_U]])  # noqa: E731
    found = ranks(scorer, histories, NUM_ITEMS, exclude_seen)
    for user in range(32):
        seen = set(histories.items_N[histories.offsets_U1[user] : histories.offsets_U1[user + 1]])
        assert found[user] == slow_rank(table[user], histories.targets_U[user], seen, exclude_seen)


@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize("levels", [3, 10**6])
def test_ranks_over_items_that_several_hold_between_them_are_those_over_all(random_histories, exclude_seen, levels):
    histories, world, barrier = random_histories(32, NUM_ITEMS), 3, Barrier(3)
    table = torch.from_numpy(np.random.default_rng(1).integers(0, levels, (32, NUM_ITEMS)).astype(np.float32))
    given = [torch.zeros(0)] * world

    def found(rank):
        def total(x):
            given[rank] = x
            barrier.wait()
            summed = torch.stack(given).sum(0)
            barrier.wait()
            return summed

        share = Share(rank, world, total)
        return ranks(lambda part: table[:, rank::world], histories, NUM_ITEMS, exclude_seen, share)

    with ThreadPoolExecutor(world) as pool:
        of_ranks = list(pool.map(found, range(world)))
    expected = ranks(lambda part: table, histories, NUM_ITEMS, exclude_seen)
    assert all(np.array_equal(one, expected) for one in of_ranks)


@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_not_finite_is_an_error_even_where_masked(value, exclude_seen):
    seen = np.array([5])
    histories = Histories(seen, seen, np.array([0, 1]), np.zeros(1, np.int64), targets_U=seen)
    scorer = lambda part: torch.zeros(part.num_users, NUM_ITEMS).index_fill(1, torch.from_numpy(seen), value)  # noqa: E731
    with pytest.raises(UserError, match="diverged"):
        ranks(scorer, histories, NUM_ITEMS, exclude_seen)


def test_metrics_are_those_of_ir_measures():
    rng = np.random.default_rng(0)
    scores, targets = rng.random((40, 60)), rng.integers(0, 60, 40)
    found = (scores > scores[np.arange(40), targets][:, None]).sum(1) + 1
    qrels = [Qrel(str(u), str(t), 1) for u, t in enumerate(targets)]
    run = [ScoredDoc(str(u), str(i), scores[u, i]) for u in range(40) for i in range(60)]
    ours = per_user(found, (5, 20))
    for k in (5, 10, 20):
        theirs = ir_measures.calc_aggregate([nDCG @ k, Success @ k, RR @ k], qrels, run)
        assert ours[f"ndcg@{k}"].mean() == pytest.approx(theirs[nDCG @ k])
        assert ours[f"hr@{k}"].mean() == pytest.approx(theirs[Success @ k])
        assert ours[f"mrr@{k}"].mean() == pytest.approx(theirs[RR @ k])


@given(st.permutations(range(9)))
def test_the_order_of_users_changes_nothing_but_the_order(order):
    rng = np.random.default_rng(3)
    table = rng.random((9, NUM_ITEMS))
    none = np.zeros(0, np.int64)
    histories = Histories(none, none, np.zeros(10, np.int64), np.arange(9), targets_U=rng.integers(0, NUM_ITEMS, 9))
    scorer = lambda part: torch.from_numpy(table[part.users_U])  # noqa: E731
    whole = ranks(scorer, histories, NUM_ITEMS, False)
    assert np.array_equal(ranks(scorer, histories.take(np.array(order)), NUM_ITEMS, False), whole[order])


CATALOGUE, MAX_LEN = 25, 4


def built():
    torch.manual_seed(0)
    table = ItemTable(pa.table({"item_id": np.arange(CATALOGUE) * 10, "count": np.ones(CATALOGUE, np.int64)}))
    config = EncoderConfig.model_validate({"width": 16, "backbone": {"kind": "transformer", "num_heads": 2}})
    return build_encoder(config, table, MAX_LEN).eval()


def test_the_catalogue_is_made_once_for_all_users(random_histories, monkeypatch):
    encoder, asked = built(), []
    encoder.items.register_forward_hook(lambda module, ids, vectors: asked.append(ids[0]))
    monkeypatch.setattr(ranking, "_CHUNK_SCORES", 2 * CATALOGUE)
    monkeypatch.setattr(ranking, "_LEAST_USERS", 2)
    ranks(encoder_scorer(encoder), random_histories(20, CATALOGUE), CATALOGUE, False)
    assert sum(ids is None for ids in asked) == 1 and len(asked) == 11


def test_scores_are_products_of_user_and_item_vectors(random_histories):
    encoder = built()
    histories = random_histories(20, CATALOGUE)
    bounds = zip(histories.offsets_U1, histories.offsets_U1[1:], strict=False)
    lists = [(histories.items_N[first:last] * 10).tolist() for first, last in bounds]
    assert max(map(len, lists)) > MAX_LEN
    expected = encoder.encode(lists) @ encoder.items(None).detach().numpy().T
    scores = encoder_scorer(encoder)(histories)
    assert not scores.requires_grad
    assert scores.numpy() == pytest.approx(expected, abs=1e-5)
    best = np.argsort(-scores.numpy(), axis=1, kind="stable")
    places = (best == histories.targets_U[:, None]).argmax(1) + 1
    assert ranks(encoder_scorer(encoder), histories, CATALOGUE, False).tolist() == places.tolist()
