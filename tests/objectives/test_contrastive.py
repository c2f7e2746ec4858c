"""Looks at windows, and InfoNCE against its formula, pair by pair."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from ray_userrep.corpus.items import REWORDED, ItemTable
from ray_userrep.encoder.user_encoder import UserEncoder, build_encoder
from ray_userrep.errors import UserError
from ray_userrep.feed.batch import MASK, TIMESTAMPS, Batch
from ray_userrep.objectives.augment import dropped, masked, one_domain, one_period, permuted, shuffled, subsequence
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.build import ObjectiveData, build_objective
from ray_userrep.objectives.contrastive import Contrastive
from ray_userrep.objectives.in_batch import hardest, semi_hard
from ray_userrep.recipe.encoder import EncoderConfig, TextItemsConfig
from ray_userrep.recipe.objective import ContrastiveConfig

DRAWS = Draws(0, 0, 0)
many_windows = st.lists(st.lists(st.integers(0, 19), min_size=1, max_size=9), min_size=1, max_size=6)


def timed(windows):
    batch = Batch.of(windows)
    return replace(batch, side={TIMESTAMPS: torch.arange(batch.num_tokens), "place": torch.arange(batch.num_tokens)})


def cut(batch, column):
    return [column[low:high].tolist() for low, high in pairwise(batch.offsets_B1.tolist())]


@given(many_windows)
def test_a_subsequence_is_a_run_of_its_window(windows):
    batch = timed(windows)
    look = subsequence(batch, DRAWS, 0, 0.6)
    for window, place, items in zip(windows, cut(look, look.side["place"]), cut(look, look.values_T), strict=True):
        assert len(items) == max(1, round(0.6 * len(window)))
        assert np.array_equal(np.diff(place), np.ones(len(place) - 1))
    assert torch.equal(batch.values_T[look.side["place"]], look.values_T)
    assert look.max_len == int(look.lengths().max())


@given(many_windows)
def test_a_permutation_moves_items_inside_a_run_and_leaves_times(windows):
    batch = timed(windows)
    look = permuted(batch, DRAWS, 0, 0.5)
    assert torch.equal(look.side[TIMESTAMPS], batch.side[TIMESTAMPS])
    assert torch.equal(batch.values_T[look.side["place"]], look.values_T)
    for window, place, was in zip(windows, cut(look, look.side["place"]), cut(batch, batch.side["place"]), strict=True):
        assert sorted(place) == was
        moved = np.flatnonzero(np.array(place) != was)
        assert not len(moved) or np.ptp(moved) < max(1, round(0.5 * len(window)))


def test_looks_differ_and_hide_the_share_asked_for():
    batch = timed([list(range(20))] * 300)
    looks = [masked(batch, DRAWS, look, 0.3) for look in (0, 1)]
    assert not torch.equal(looks[0].values_T, looks[1].values_T)
    assert (looks[0].values_T == MASK).float().mean().item() == pytest.approx(0.3, abs=0.02)
    first, second = (permuted(batch, DRAWS, look, 0.5).values_T for look in (0, 1))
    assert not torch.equal(first, second)


@given(many_windows)
def test_a_shuffle_takes_times_along(windows):
    batch = timed(windows)
    look = shuffled(batch, DRAWS, 0, 0.8)
    assert torch.equal(look.side[TIMESTAMPS], look.side["place"])
    assert torch.equal(batch.values_T[look.side["place"]], look.values_T)


@given(many_windows)
def test_dropping_leaves_order_and_at_least_one(windows):
    look = dropped(timed(windows), DRAWS, 1, 0.7)
    for window, place in zip(windows, cut(look, look.side["place"]), strict=True):
        assert 1 <= len(place) <= len(window) and place == sorted(place)
    many = timed([[1] * 50] * 200)
    assert dropped(many, DRAWS, 1, 0.2).num_tokens / many.num_tokens == pytest.approx(0.8, abs=0.02)


@given(st.lists(st.lists(st.integers(0, 19), min_size=2, max_size=9), min_size=1, max_size=6), st.floats(0.05, 0.95))
def test_periods_are_the_window_in_two(windows, share):
    batch = timed(windows)
    looks = [one_period(batch, DRAWS, look, share) for look in (0, 1)]
    for window, before, after in zip(windows, *(cut(look, look.values_T) for look in looks), strict=True):
        assert before and after and before + after == window


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 19), st.sampled_from([0, 7, -8, 9])), min_size=1, max_size=9),
        min_size=1,
        max_size=6,
    ),
    st.integers(0, 3),
)
def test_looks_of_a_pair_are_of_two_domains(windows, epoch):
    batch = Batch.of([[item for item, _ in window] for window in windows])
    domains = [[domain for _, domain in window] for window in windows]
    batch = replace(batch, side={"domain": torch.tensor([domain for own in domains for domain in own])})
    looks = [one_domain(batch, Draws(0, epoch, 0), look, 0.5) for look in (0, 1)]
    shown = [cut(look, look.side["domain"]) for look in looks]
    for i, own in enumerate(domains):
        is_pair = bool(looks[1].labels["paired"][i])
        assert is_pair == (len(set(own) - {0}) > 1)
        for look, found in zip(looks, shown, strict=True):
            (domain,) = set(found[i])
            items = [item for item, of in windows[i] if of == domain]
            assert cut(look, look.values_T)[i] == items
        assert (shown[0][i] != shown[1][i] and shown[0][i][0] != shown[1][i][0]) or not is_pair


@pytest.fixture
def encoder(table):
    torch.manual_seed(0)
    return build_encoder(EncoderConfig(width=32), table, 9).eval()


def random_windows(number, seed=0):
    rng = np.random.default_rng(seed)
    return [list(rng.integers(0, 20, rng.integers(2, 9))) for _ in range(number)]


def test_the_loss_is_info_nce_both_ways(encoder):
    chosen = Contrastive(subsequence, 0.5, "last", 0.5, None)
    batch = replace(timed(random_windows(5)), users_B=torch.tensor([0, 1, 1, 2, 3]))
    views = chosen.views(batch, DRAWS)
    a, b = (F.normalize(encoder(view), dim=-1) for view in views)
    expected = torch.zeros(())
    for first, second in ((a, b), (b, a)):
        for own in range(5):
            others = [i for i in range(5) if i == own or batch.users_B[i] != batch.users_B[own]]
            scores = first[own] @ second[others].T / 0.5
            expected = expected + (scores.logsumexp(0) - first[own] @ second[own] / 0.5) / 2
    torch.testing.assert_close(chosen(encoder, views).sums_P, expected[None])
    assert chosen.counts(views).tolist() == [5]


@pytest.mark.parametrize("view", [subsequence, masked])
@pytest.mark.parametrize("readout", ["last", "cls"])
def test_at_first_the_loss_is_about_the_log_of_the_batch(table, view, readout):
    torch.manual_seed(0)
    encoder = build_encoder(EncoderConfig(width=64, readout=readout), table, 9, hides_items=True)
    chosen = Contrastive(view, 0.5, readout, 1.0, None)
    for number in (32, 256):
        views = chosen.views(timed(random_windows(number)), DRAWS)
        loss = chosen(encoder, views).sums_P / chosen.counts(views)
        assert loss.item() == pytest.approx(np.log(number), rel=0.12)


def test_few_negatives_are_the_same_for_all_and_drawn_anew(encoder):
    chosen = Contrastive(subsequence, 0.5, "last", 0.5, 3)
    users = torch.arange(50)
    key = torch.from_numpy(DRAWS.uniforms(20, users.numpy()))
    found = chosen._negatives(users, torch.arange(50), key)
    assert (found.sum(1) - 1 <= 3).all() and found.diagonal().all()
    assert set(found.float().sum(0).topk(3).indices.tolist()) == set(key.topk(3, largest=False).indices.tolist())


def test_all_rows_of_two_ranks_are_the_joint_batch(encoder):
    """A gather that hands over the other rank's rows gives each rank its share of the joint loss and gradient."""
    chosen = Contrastive(subsequence, 0.5, "last", 0.5, None)
    batch = timed(random_windows(6))
    whole = chosen(encoder, chosen.views(batch, DRAWS)).sums_P
    parts = []
    for first in (0, 3):
        mine = timed(random_windows(6)[first : first + 3])
        mine = replace(mine, users_B=batch.users_B[first : first + 3])
        parts.append(chosen.views(mine, DRAWS))

    def share(rank):
        other = parts[1 - rank]
        vectors = iter([*(F.normalize(encoder(view), dim=-1) for view in other), other[0].users_B])

        def gather(rows):
            rest = next(vectors, torch.zeros(3, dtype=rows.dtype))
            return torch.cat([rest, rows] if rank else [rows, rest]), 3 * rank

        return chosen(encoder, parts[rank], gather).sums_P

    torch.testing.assert_close(share(0) + share(1), whole)


def with_domains(windows):
    batch = timed(windows)
    return replace(batch, side=batch.side | {"domain": 1 + torch.arange(batch.num_tokens) % 2})


@pytest.mark.parametrize("view", [dropped, one_period, one_domain])
def test_new_looks_start_at_the_log_of_the_batch_too(table, view):
    torch.manual_seed(0)
    chosen = Contrastive(view, 0.5, "mean", 1.0, None, whole_first=view is dropped)
    encoder = build_encoder(EncoderConfig(width=64, readout="mean"), table, 9)
    views = chosen.views(with_domains(random_windows(128)), DRAWS)
    assert chosen.counts(views).item() == 128
    assert chosen(encoder, views).sums_P.item() / 128 == pytest.approx(np.log(128), rel=0.15)


def test_a_log_without_domains_is_refused(table):
    data = ObjectiveData(table, ("event",), lambda: np.ones(20, np.int64))
    with pytest.raises(UserError, match=r"objective\.views domains"):
        build_objective(ContrastiveConfig(views="domains"), EncoderConfig(), data)


def test_a_window_of_one_domain_is_a_negative_only(encoder):
    chosen = Contrastive(one_domain, 0.5, "last", 0.5, None)
    batch = with_domains(random_windows(5))
    lonely = torch.arange(5).repeat_interleave(batch.lengths()) == 2
    batch = replace(batch, side=batch.side | {"domain": batch.side["domain"].masked_fill(lonely, 5)})
    views = chosen.views(batch, DRAWS)
    assert chosen.counts(views).tolist() == [4]
    a, b = (F.normalize(encoder(view), dim=-1) for view in views)
    rows = [own for own in range(5) if own != 2]
    both = [
        F.cross_entropy((x @ y.T / 0.5)[rows], torch.tensor(rows), reduction="sum") / 2 for x, y in ((a, b), (b, a))
    ]
    torch.testing.assert_close(chosen(encoder, views).sums_P[0], sum(both))


def test_the_whole_window_against_one_with_items_dropped(encoder):
    chosen = Contrastive(dropped, 0.5, "last", 0.5, None, whole_first=True)
    batch = timed(random_windows(6))
    whole, less = chosen.views(batch, DRAWS)
    assert torch.equal(whole.values_T, batch.values_T) and less.num_tokens < batch.num_tokens


def test_windows_that_lead_up_to_the_same_item_are_not_told_apart(encoder):
    windows = [[1, 2, 9], [3, 4, 9], [5, 6, 8]]
    chosen = Contrastive(dropped, 0.5, "last", 0.5, None, whole_first=True, same_target=True, lookahead=1)
    views = chosen.views(timed(windows), DRAWS)
    assert cut(views[0], views[0].values_T) == [[1, 2], [3, 4], [5, 6]]
    a, b = (F.normalize(encoder(view), dim=-1) for view in views)
    allowed = torch.tensor([[1, 0, 1], [0, 1, 1], [1, 1, 1]]).bool()
    expected = torch.zeros(())
    for x, y in ((a, b), (b, a)):
        scores = (x @ y.T / 0.5).masked_fill(~allowed, float("-inf"))
        expected = expected + F.cross_entropy(scores, torch.arange(3), reduction="sum") / 2
    torch.testing.assert_close(chosen(encoder, views).sums_P[0], expected)


def test_hard_negatives_are_the_most_similar_users_and_cost_more_than_random_ones(encoder):
    batch = replace(timed(random_windows(12)), users_B=torch.arange(12) % 10)
    hard = Contrastive(one_period, 0.5, "last", 0.5, 3, hardest, lookahead=1)
    views = hard.views(batch, DRAWS)
    a, b = (F.normalize(encoder(view), dim=-1) for view in views)
    expected = torch.zeros(())
    for x, y in ((a, b), (b, a)):
        for own in range(12):
            others = [x[own] @ y[i] / 0.5 for i in range(12) if batch.users_B[i] != batch.users_B[own]]
            kept = sorted(others, key=lambda score: -score.item())[:3]
            expected = expected - torch.stack([x[own] @ y[own] / 0.5, *kept]).log_softmax(0)[0] / 2
    found = hard(encoder, views).sums_P
    torch.testing.assert_close(found[0], expected)
    assert found > Contrastive(one_period, 0.5, "last", 0.5, 3)(encoder, views).sums_P


@pytest.mark.parametrize("chosen", [
    Contrastive(one_period, 0.5, "last", 0.5, 2, semi_hard, lookahead=1),
    Contrastive(dropped, 0.3, "last", 0.5, None, whole_first=True, same_target=True, lookahead=1),
    Contrastive(one_domain, 0.3, "last", 0.5, None),
], ids=["periods, semi-hard", "drop, same target", "domains"])  # fmt: skip
def test_two_ranks_learn_what_one_learns(encoder, two_ranks, chosen):
    batch, users = with_domains(random_windows(6)), torch.arange(6)
    windows, weight = random_windows(6), encoder.items.weight
    (joint,) = torch.autograd.grad(chosen(encoder, chosen.views(batch, DRAWS)).sums_P[0], weight)
    parts = []
    for first, last in ((0, 2), (2, 6)):
        part = with_domains(windows[first:last])
        start, end = batch.offsets_B1[first], batch.offsets_B1[last]
        side = {name: column[start:end] for name, column in batch.side.items()}
        parts.append(chosen.views(replace(part, users_B=users[first:last], side=side), DRAWS))
    (shared,) = torch.autograd.grad(two_ranks(chosen, encoder, parts)[0], weight)
    torch.testing.assert_close(shared, joint)


@pytest.mark.parametrize("num_negatives", [None, 2])
def test_a_filler_window_is_nobody_s_negative(encoder, two_ranks, num_negatives):
    chosen = Contrastive(subsequence, 0.5, "last", 0.5, num_negatives)
    views = chosen.views(timed(random_windows(4)), DRAWS)
    filler = replace(timed(random_windows(3)), weight=0.0, users_B=torch.tensor([77, 78, 79]))
    together = two_ranks(chosen, encoder, [views, chosen.views(filler, DRAWS)])
    torch.testing.assert_close(together, chosen(encoder, views).sums_P)


@pytest.fixture
def reworded(table):
    vectors = np.random.default_rng(1).normal(size=(len(table), 6)).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 6)
    return ItemTable(table.table.append_column(REWORDED, column))


TEXT = EncoderConfig(width=16, items=TextItemsConfig())


def test_a_second_look_in_fewer_words_is_the_same_items_by_their_other_vectors(reworded, tmp_path):
    encoder = build_encoder(TEXT, reworded, 10).eval()
    config = ContrastiveConfig(views="drop", share=0.2, whole_first=True, reword=1.0)
    objective = build_objective(config, TEXT, ObjectiveData(reworded, (), lambda: np.ones(len(reworded))))
    first, second = objective.views(Batch.of([[1, 2, 3], [4, 5]]), DRAWS)
    assert torch.equal(second.values_T, first.values_T + len(reworded)) and first.values_T.tolist() == [1, 2, 3, 4, 5]
    vectors = torch.tensor(reworded.reworded_vectors()[1:6])
    expected = (vectors - encoder.items.centre) @ encoder.items.weight.T
    assert torch.allclose(encoder.items(second.values_T), expected, atol=1e-6)
    assert encoder.items(None).shape == (len(reworded), 16)
    assert torch.equal(encoder.items(None)[1:6], encoder.items(first.values_T))
    objective(encoder, [first, second]).sums_P.sum().backward()
    assert encoder.items.weight.grad.abs().sum() > 0
    encoder.save_pretrained(tmp_path)
    loaded = UserEncoder.from_pretrained(tmp_path)
    assert torch.equal(loaded.items(None), encoder.items(None)) and loaded.item_table.reworded_vectors() is None


def test_words_are_dropped_in_so_large_a_share_of_the_batches(reworded):
    config = ContrastiveConfig(views="drop", share=0.5, whole_first=True, reword=0.1)
    objective = build_objective(config, TEXT, ObjectiveData(reworded, (), lambda: np.ones(len(reworded))))
    batch = Batch.of([[1, 2, 3, 4, 5]])
    looks = [objective.views(batch, Draws(0, 0, number))[1].values_T for number in range(1000)]
    again = [objective.views(batch, Draws(0, 0, number))[1].values_T for number in range(20)]
    assert 70 < sum(bool((look >= len(reworded)).all()) for look in looks) < 130
    assert all(torch.equal(a, b) for a, b in zip(looks, again, strict=False))


def test_what_has_no_other_words_is_refused(table):
    config = ContrastiveConfig(reword=0.1)
    assert "encoder.items.kind must be text" in config.refusal(EncoderConfig()) and config.refusal(TEXT) is None
    with pytest.raises(UserError, match=r"set text\.word_drop above 0"):
        build_objective(config, TEXT, ObjectiveData(table, (), lambda: np.ones(len(table))))
