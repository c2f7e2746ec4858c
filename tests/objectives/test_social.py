"""Friends told from strangers: who is one, against sets; the loss, against its formula; what is learned of a graph."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from ray_userrep.corpus.draws import hash_ids
from ray_userrep.corpus.relations import Relations
from ray_userrep.corpus.store import Bucket
from ray_userrep.encoder.user_encoder import build_encoder
from ray_userrep.feed.batch import TIMESTAMPS, Batch
from ray_userrep.feed.companions import Companions
from ray_userrep.feed.cutting import held
from ray_userrep.objectives.base import Draws
from ray_userrep.objectives.social import Profiles, SocialContrast, Society
from ray_userrep.recipe.encoder import EncoderConfig, MeanConfig
from ray_userrep.recipe.train import TrainConfig
from ray_userrep.training.bare import BareEngine
from ray_userrep.training.step import TrainModel, prepare_micros, train_step

USERS = 8
HASHES = hash_ids(pa.array(range(USERS)))
DRAWS = Draws(0, 0, 0)
ALIKE = 0.5


def society_of(pairs, profiles_UA, windows):
    """A society of users 0, 1, …, of whom each has a window, empty or not."""
    ones, others = zip(*pairs, strict=True)
    relations = Relations.of(pa.table({"user_id": ones, "other_id": others}))
    hashes = hash_ids(pa.array(range(len(windows))))
    by_hash = np.argsort(hashes)
    place = {int(value): user for user, value in enumerate(hashes)}
    own = [windows[place[int(value)]] for value in relations.users_U]
    items = np.array([item for window in own for item in window], np.int64)
    offsets = np.append(0, np.cumsum([len(window) for window in own]))
    bucket = Bucket(pa.nulls(len(own)), relations.users_U, offsets, items, np.zeros_like(items), {})
    return Society(
        relations, Profiles(hashes[by_hash], profiles_UA[by_hash]), lambda: Companions(held(bucket, [TIMESTAMPS]))
    )


def batch_of(users, windows):
    return Batch.of([windows[user] for user in users], hash_ids(pa.array(range(len(windows))))[list(users)])


def related(pairs):
    friends = defaultdict(set)
    for one, other in pairs:
        friends[one].add(other)
        friends[other].add(one)
    return friends


def shared(one, other):
    return sum(mine == theirs > 0 for mine, theirs in zip(one, other, strict=True))


PAIRS = st.lists(
    st.tuples(st.integers(0, USERS - 1), st.integers(0, USERS - 1)).filter(lambda pair: pair[0] != pair[1]),
    min_size=1,
    max_size=10,
)
PROFILES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 1)), min_size=USERS, max_size=USERS)


@settings(deadline=None)
@given(PAIRS, PROFILES, st.lists(st.integers(0, USERS - 1), min_size=1, max_size=9))
def test_friends_their_friends_and_users_of_like_profile_are_never_negatives(pairs, profiles, users):
    windows = [[user] for user in range(USERS)]
    objective = SocialContrast(society_of(pairs, np.array(profiles), windows), "mean", 0.1, ALIKE)
    everybody, companions = objective.views(batch_of(users, windows), DRAWS)
    found_KG = objective._strangers(everybody, companions, lambda rows: (rows, 0))
    friends = related(pairs)
    anchors = [place for place, user in enumerate(users) if friends[user]]
    assert companions.labels["anchor"][companions.labels["is_pair"]].tolist() == anchors
    assert objective.counts([everybody, companions]).tolist() == [len(anchors)]
    for place, strangers_G in zip(anchors, found_KG.tolist(), strict=False):
        user = users[place]
        near = friends[user].union({user}, *(friends[friend] for friend in friends[user]))
        expected = [other not in near and shared(profiles[user], profiles[other]) < ALIKE * 3 for other in users]
        assert strangers_G == expected
    drawn = {int(value): user for user, value in enumerate(HASHES)}
    for place, value in zip(anchors, companions.users_B.tolist(), strict=False):
        assert drawn[value] in friends[users[place]]


@pytest.fixture
def encoder(table):
    torch.manual_seed(0)
    return build_encoder(EncoderConfig(width=32, readout="mean"), table, 9).eval()


# 0 and 1 are friends, 1 and 2, 3 and 4; 5 is alone and like 3; 6 is alone.
GRAPH = [(0, 1), (1, 2), (3, 4)]
PROFILE = np.array([[1], [2], [3], [4], [5], [4], [6]])
WINDOWS = [[0, 1, 2], [3], [4, 5], [6, 7], [8, 9, 10], [11], [12, 13]]


def test_the_loss_is_the_cross_entropy_of_the_drawn_friend(encoder):
    objective = SocialContrast(society_of(GRAPH, PROFILE, WINDOWS), "mean", 0.5, 1.0)
    views = objective.views(batch_of(range(7), WINDOWS), DRAWS)
    vectors = [F.normalize(encoder(batch_of([user], WINDOWS))[0], dim=0) for user in range(7)]
    place = {int(value): user for user, value in enumerate(hash_ids(pa.array(range(7))))}
    drawn = [place[value] for value in views[1].users_B.tolist()]
    strangers = {0: [3, 4, 5, 6], 1: [3, 4, 5, 6], 2: [3, 4, 5, 6], 3: [0, 1, 2, 6], 4: [0, 1, 2, 5, 6]}
    expected = torch.zeros(())
    for (anchor, others), friend in zip(strangers.items(), drawn, strict=True):
        scores = torch.stack([vectors[anchor] @ vectors[other] for other in [friend, *others]]) / 0.5
        expected = expected - scores.log_softmax(0)[0]
    torch.testing.assert_close(objective(encoder, views).sums_P[0], expected)


def test_at_the_start_it_is_about_the_logarithm_of_the_batch(table):
    rng = np.random.default_rng(0)
    windows = [rng.integers(0, 20, 6).tolist() for _ in range(400)]
    pairs = [(user, user + 1) for user in range(0, 400, 2)]
    objective = SocialContrast(society_of(pairs, np.zeros((400, 0), np.int64), windows), "mean", 1.0, 1.0)
    views = objective.views(batch_of(range(400), windows), DRAWS)
    torch.manual_seed(0)
    untrained = build_encoder(EncoderConfig(width=64, readout="mean"), table, 6).eval()
    loss = objective(untrained, views).sums_P / objective.counts(views)
    assert loss.item() == pytest.approx(np.log(399), abs=0.5)


def test_what_is_drawn_is_the_same_in_any_batch_and_another_in_another_epoch():
    pairs = [(0, other) for other in range(1, 7)]
    objective = SocialContrast(society_of(pairs, PROFILE, WINDOWS), "mean", 0.5, 1.0)

    def drawn(users, rng):
        return objective.views(batch_of(users, WINDOWS), rng)[1].users_B[0].item()

    whole = [drawn(range(7), Draws(0, epoch, 0)) for epoch in range(20)]
    assert whole == [drawn([0], Draws(0, epoch, 9)) for epoch in range(20)]
    assert len(set(whole)) > 1


def test_nobody_is_drawn_who_has_no_window_and_a_batch_without_friends_counts_nothing(encoder):
    windows = [[1], [], [2], [3]]
    objective = SocialContrast(society_of([(0, 1), (1, 2)], np.ones((4, 0), np.int64), windows), "mean", 0.5, 1.0)
    views = objective.views(batch_of([0, 2, 3], windows), DRAWS)
    assert objective.counts(views).tolist() == [0] and objective(encoder, views).sums_P.tolist() == [0]
    filler = objective.views(replace(batch_of([3], windows), weight=0.0), DRAWS)
    assert objective.counts(filler).tolist() == [0] and objective(encoder, filler).sums_P.tolist() == [0]


def test_two_ranks_have_the_loss_and_gradients_of_one(encoder, two_ranks):
    objective = SocialContrast(society_of(GRAPH, PROFILE, WINDOWS), "mean", 0.5, 1.0)
    whole = objective.views(batch_of(range(7), WINDOWS), DRAWS)
    parts = [objective.views(batch_of(users, WINDOWS), DRAWS) for users in ([0, 3, 6], [1, 2, 4, 5])]
    assert sum(objective.counts(part) for part in parts) == objective.counts(whole)
    found = []
    for sums_P in (objective(encoder, whole).sums_P, two_ranks(objective, encoder, parts)):
        encoder.zero_grad()
        sums_P.sum().backward()
        found.append([sums_P.detach(), *(p.grad.clone() for p in encoder.parameters() if p.grad is not None)])
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("cuts", [[(0, 12)], [(0, 5), (5, 12)]])
def test_friends_come_closer_than_what_they_do_says(table, cuts):
    """Two circles of friends who take items by chance: only who knows whom tells them apart, in one forward or two."""
    rng = np.random.default_rng(0)
    windows = [rng.choice(20, 6, replace=False).tolist() for _ in range(12)]
    pairs = [(one, other) for circle in (range(6), range(6, 12)) for one in circle for other in circle if one < other]
    objective = SocialContrast(society_of(pairs, np.zeros((12, 0), np.int64), windows), "mean", 0.2, 1.0)
    torch.manual_seed(0)
    config = EncoderConfig(width=16, readout="mean", dropout=0.0, backbone=MeanConfig(num_layers=0, causal=False))
    encoder = build_encoder(config, table, 6)
    engine = BareEngine(TrainModel(encoder, objective), TrainConfig(), torch.device("cpu"))
    micros = [batch_of(range(low, high), windows) for low, high in cuts]

    def gap():
        with torch.no_grad():
            vectors = F.normalize(encoder(batch_of(range(12), windows)), dim=1)
        cosines, is_first = vectors @ vectors.T, torch.arange(12) < 6
        is_same = is_first[:, None] == is_first
        return float(cosines[is_same].mean() - cosines[~is_same].mean())

    before = gap()
    for step in range(60):
        train_step(engine, prepare_micros(objective, micros, Draws(0, step, 0), 0), 3e-2)
    assert gap() > before + 0.5
